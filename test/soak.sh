#!/usr/bin/env bash
# The long runs: nodes that are upgraded, connections that move, processes that
# are killed at every point of a hand-off, and fuzz targets. The argument is how
# much of it: 1, the default, takes some 15 minutes. With the name of a part
# behind it only that part runs: upgrades, moves, kills or fuzz.
#
#	test/soak.sh              everything
#	test/soak.sh 10           ten times as long
#	test/soak.sh 3 kills      one part
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

much=${1:-1}
only=${2:-}
if ! [[ $much =~ ^[1-9][0-9]*$ ]]; then
	echo "usage: test/soak.sh [MUCH [upgrades|moves|kills|fuzz]]" >&2
	exit 2
fi

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
test/prepare.sh
# shellcheck disable=SC1090,SC1091
. "${CNODE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cnode}/env"
export CNODE_TEST_REQUIRE=1
started=$SECONDS
part() {
	[[ -z $only || $only == "$1" ]] || return 1
	printf '== %s (%d s)\n' "$*" $((SECONDS - started))
}

if part upgrades "$((100 * much)) for each OTP"; then
	CNODE_UPGRADES=$((100 * much)) go test -count=1 -timeout 0 -v -run TestUpgrade$ ./test/interop/upgrade
fi

if part moves "$((1000 * much)) of a connection, and nodes with 1,000 connections"; then
	CNODE_MOVES=$((1000 * much)) CNODE_CONNECTIONS=1000 go test -count=1 -timeout 0 -v -run Figures ./test/interop/upgrade
	go test -count=$((10 * much)) -timeout 0 -v ./test/interop/move
fi

if part kills "$much times, one session and 1,000"; then
	HANDOFF_KILL_SESSIONS="1 250 1000" go test -race -count="$much" -timeout 0 -run 'TestKill|TestNoNumbersThere' ./transport/handoff
fi

if part fuzz "$((20 * much)) s each"; then
	for package in $(go list ./...); do
		for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
			echo "$package $target"
			go test -run '^$' -fuzz "^$target\$" -fuzztime $((20 * much))s "$package"
		done
	done
fi
printf '== done (%d s)\n' $((SECONDS - started))
