#!/usr/bin/env bash
# Asks a web server on this machine for its front page; needs nothing but bash.
# usage: exercise.sh [PORT]
set -euo pipefail
exec 3<>"/dev/tcp/127.0.0.1/${1:-80}"
printf 'GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
read -r status <&3
case $status in
*" 200 "*) ;;
*) echo "GET /: $status" >&2; exit 1 ;;
esac
