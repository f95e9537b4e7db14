#!/usr/bin/env bash
# What was never exercised: another template, modules that are imported late, another time zone,
# another user, an error page.
set -euo pipefail
# shellcheck source=bench/services/http.sh
. "$(dirname "$0")/../http.sh"
get 18482 /about 200 "Stones are counted here"
get 18482 /export 200 "text/csv"
get 18482 /now/Asia/Tokyo 200 "+09:00"
get 18482 /owner/daemon 200 "/usr/sbin"
get 18482 /nowhere 404 "No such stone"
