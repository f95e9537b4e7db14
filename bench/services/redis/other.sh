#!/usr/bin/env bash
# What was never exercised: a script, a list, a snapshot to disk and its time of day.
set -euo pipefail
ask() { redis-cli -p 18481 "$@"; }
[ "$(ask eval 'return redis.sha1hex(ARGV[1])' 0 moss)" = "$(printf moss | sha1sum | cut -d' ' -f1)" ]
[ "$(ask rpush stones a b c)" = 3 ]
[ "$(ask save)" = OK ]
[ "$(ask config get dir | tail -1)" = /var/lib/redis ]
