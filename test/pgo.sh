#!/usr/bin/env bash
# Records default.pgo, by which the compiler sees what of the commands is worth its effort, from
# what the benchmark's programs of ours spend their processor time on: a few minutes on a quiet
# machine, with what test/prepare.sh has made.
#
#	test/pgo.sh
#	go run ./test/bench --pgo cmd/cnode-demo/default.pgo --before .    # what it brings
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

profiles=$(mktemp -d)
trap 'rm -rf "$profiles"' EXIT
export CNODE_BENCH_PROFILE=$profiles
go run ./test/bench --rounds 3 --peers ours --only '^(round-trip|out|in|connect|crowd|upper|codec)'
go run ./test/bench --rounds 3 --peers ours --only '^(round-trip|out|in)/' --transport tls
find "$profiles" -size 0 -delete # of programs that were killed meanwhile
go tool pprof -proto "$profiles"/* >cmd/cnode-demo/default.pgo 2>/dev/null
cp cmd/cnode-demo/default.pgo cmd/erl-call/default.pgo
