#!/usr/bin/env bash
# Runs the Go benchmarks, each several times, and with a commit to compare with those of that, in
# turns, and shows by benchstat what differs and how certain that is. The machine should have
# nothing else to do. What real Erlang nodes measure is test/bench's, see test/bench/README.md.
#
#	test/bench.sh                          of this tree
#	test/bench.sh main                     beside those of main
#	COUNT=3 TIME=10ms test/bench.sh '' ./ei/...    quick, of some packages
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

benchstat=golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
before=${1-}
shift $(($# > 0))
(($#)) || set -- ./ei/... ./internal/protocol ./transport/...
at=$(mktemp -d)
trap '[[ -z $before ]] || git worktree remove --force "$at/before" 2>/dev/null; rm -rf "$at"' EXIT
[[ -z $before ]] || git worktree add --quiet --detach "$at/before" "$before"
GOBIN=$at go install "$benchstat"

# measure TREE FILE PACKAGE... adds one run of all benchmarks.
measure() {
	local tree=$1 file=$2
	shift 2
	(cd "$tree" && go test -run='^$' -bench=. -benchmem -benchtime="${TIME:-300ms}" -timeout=30m "$@") >>"$file"
}
for ((i = 0; i < ${COUNT:-6}; i++)); do # in turns, so that what else the machine does hits both
	[[ -z $before ]] || measure "$at/before" "$at/old" "$@"
	measure . "$at/new" "$@"
done
if [[ -n $before ]]; then
	"$at/benchstat" "$before=$at/old" "this=$at/new"
else
	"$at/benchstat" "$at/new"
fi
