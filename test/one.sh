#!/usr/bin/env bash
# Runs the tests beside one source file that are about it, and prints their go test command:
#
#	test/one.sh nodes/monitor.go
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
[[ $# == 1 ]] || { echo "usage: test/one.sh FILE.go" >&2 && exit 2; }
exec go run ./internal/test/one "$1"
