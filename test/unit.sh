#!/usr/bin/env bash
# Runs the tests that need neither root nor Erlang, on any system that Go has: short ones, each once.
# A test that needs what the machine lacks is skipped.
#
#	test/unit.sh                 all packages
#	test/unit.sh ./ei ./nodes    these
#	test/unit.sh contrib/quic    those of a module below this one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

export GOFLAGS="${GOFLAGS-} -pgo=off" # default.pgo would have all packages compiled a second time
go version
if [[ -f ${1-}/go.mod ]]; then
	cd "$1"
	shift
fi
(($#)) || set -- work
exec go test -short -timeout=30m "$@"
