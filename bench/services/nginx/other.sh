#!/usr/bin/env bash
# What was never exercised: other static files, another type, an error page.
set -euo pipefail
# shellcheck source=bench/services/http.sh
. "$(dirname "$0")/../http.sh"
get 18480 /moss.html 200 "north side"
get 18480 /style.css 200 "text/css"
get 18480 /nowhere 404 "404 Not Found"
