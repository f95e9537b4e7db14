#!/usr/bin/busybox sh
# shellcheck shell=dash
# Runs one test: its number, its name, its program, the folder of its package.
number=$1 name=$2 program=$3
export CARGO_MANIFEST_DIR="$4"
cd "$4" || exit 1
log=/guest/log/$number
uptime() { cut -d' ' -f1 /proc/uptime; }
begun=$(uptime)
# On a busy machine the slowest take a third of it: beyond that they hang.
timeout -s KILL 180 "$program" --exact "$name" --nocapture --include-ignored >"$log" 2>&1
code=$?
seconds=$(echo "$begun $(uptime)" | awk '{ print $2 - $1 }')
if [ "$code" -eq 0 ]; then
    verdict=pass
    grep 'SKIPPED:' "$log" >"$log.told"
else
    verdict=fail
    { tail -n 60 "$log"; echo "exit code $code"; } >"$log.told"
fi
# One at a time, in one piece.
exec 9>/guest/lock
flock 9
{
    sed "s/^/@text $number /" "$log.told"
    echo "@$verdict $number $seconds"
} >/dev/ttyS1
rm -f "$log" "$log.told"
