#!/usr/bin/env bash
# What is exercised while the service is watched.
set -euo pipefail
# shellcheck source=bench/services/http.sh
. "$(dirname "$0")/../http.sh"
get 18480 / 200 "A garden in a courtyard"
