#!/usr/bin/env bash
# What is exercised while the service is watched: the list, and a stone that is added to it.
set -euo pipefail
# shellcheck source=bench/services/http.sh
. "$(dirname "$0")/../http.sh"
get 18482 / 200 "<h1>Stones</h1>"
body='name=granite&weight=12.5'
exec 3<>/dev/tcp/127.0.0.1/18482
printf 'POST /stones HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s' \
    "${#body}" "$body" >&3
cat <&3 >/dev/null
get 18482 / 200 "granite: 12.5 kg"
