#!/usr/bin/env bash
# What is exercised while the service is watched.
set -euo pipefail
ask() { redis-cli -p 18481 "$@"; }
[ "$(ask set stone grey)" = OK ]
[ "$(ask get stone)" = grey ]
