#!/usr/bin/env bash
# The long runs: nodes that are upgraded, connections that move, processes that
# are killed at every point of a hand-off, faulty streams, and fuzz targets. The
# argument is how much of it: 1, the default, takes some 25 minutes; 0.1 is a
# tenth. With the name of a part behind it only that part runs.
#
#	test/soak.sh              everything
#	test/soak.sh 10           ten times as long
#	test/soak.sh 0.2 kills    one part
#
# Parts, at length 1:
#	upgrades   100 upgrades of a serve for each OTP and transport, which a real
#	           node uses without pause: numbered messages, calls, a link, a monitor;
#	           100 in the middle of large messages
#	moves      1,000 moves of a connection, with numbered messages of a real node
#	           of each OTP both ways, over TLS, too; 200 in the middle of large
#	           messages, theirs, ours and both; 1,000 moves between two
#	           processes; 100 moves of a node; nodes with 1,000 connections
#	stops      300 stops at every step of an upgrade: by systemd 257 and 262, of a node
#	           and of a front with workers; by signals to one process, and to all:
#	           hours, so it runs only by name
#	kills      SIGKILL and SIGSTOP at every point: one session, 250 and 1,000, each
#	           with half a frame in each direction and a full window; a front with
#	           its workers, one session a worker and 300; 40,000 exit signals to the
#	           processes of a tree of supervisors
#	sound      the suite for plug-ins accuses no good one of 15, on a busy machine
#	callbacks  10 minutes of nodes that call each other back, with tiny limits
#	gate       10 minutes of mutated frames at the gate, beside each OTP
#	comings    10 minutes for each OTP in which functions, processes, links, monitors,
#	           group members, global names and supervised servers come and go, both
#	           ways, while processes are killed, connections closed, and the
#	           Erlang node is killed and started anew: nothing is left of them
#	agreement  200 random histories of global names among nodes of Go and of each OTP, of
#	           nodes of Go 2,000: all have the same names in the end
#	chaos      100 faulty streams for each OTP, faults at every byte, the whole
#	           suite over them, workers killed and stopped, 1,000 runs of each
#	           state machine, a minute of everything at once, four times
#	fuzz       20 s for each target
#	platforms  the libraries build where nothing is promised, and all of it passes
#	           go vet where an int has 32 bits
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

much=${1:-1}
only=${2:-}
if ! [[ $much =~ ^([1-9][0-9]*|[0-9]+\.[0-9]*[1-9][0-9]*)$ && $only =~ ^(|upgrades|moves|stops|kills|sound|callbacks|gate|comings|agreement|chaos|fuzz|platforms)$ ]]; then
	echo "usage: test/soak.sh [MUCH [upgrades|moves|stops|kills|sound|callbacks|gate|comings|agreement|chaos|fuzz|platforms]]" >&2
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

# times N prints how many N are at this length, at least 1.
times() { awk -v n="$1" -v much="$much" 'BEGIN { n = int(n * much); print n < 1 ? 1 : n }'; }

# soak ARGUMENT... is go test without its cache and its time-out.
soak() { go test -count=1 -timeout 0 "$@"; }

# fuzz PACKAGE TARGET runs one target. Go 1.26 sometimes takes the end of the time
# itself for a failure (golang/go#75804); without an input that fails, once more.
fuzz() {
	local log
	log=$(mktemp)
	for _ in 1 2 3; do
		if go test -run '^$' -fuzz "^$2\$" -fuzztime "$(times 20)s" "$1" 2>&1 | tee "$log"; then
			rm -f "$log"
			return
		fi
		grep -q '^ *context deadline exceeded$' "$log" && ! grep -q 'Failing input' "$log" || break
	done
	rm -f "$log"
	return 1
}

if part upgrades "$(times 100) for each OTP and transport"; then
	CNODE_UPGRADES=$(times 100) CNODE_LARGE_UPGRADES=$(times 100) soak -v -run 'TestUpgrade$|TestUpgradesInLargeMessages' ./test/interop/upgrade
fi

if part moves "$(times 1000) of a connection, $(times 100) of a node, and nodes with 1,000 connections"; then
	CNODE_MOVES=$(times 1000) CNODE_LARGE_MOVES=$(times 200) CNODE_NODE_MOVES=$(times 100) soak -v ./test/interop/move
	CNODE_MOVES=$(times 1000) soak -v -run TestMovesUnderErlang ./test/interop/tls
	CNODE_CONNECTIONS=1000 soak -v -run Figures ./test/interop/upgrade
fi

if [[ $only == stops ]] && part stops "$(times 300) at every step"; then
	CNODE_STOPS=$(times 300) soak -v -run 'TestServiceStopsDuringReload|TestSignalDuringUpgrade' ./cmd/cnode-demo
fi

if part kills "$(times 1) times, one session, 250 and 1,000"; then
	# each of 1,000 sessions has two descriptors in the test's own process
	HANDOFF_KILL_SESSIONS="1 250 1000" soak -race -parallel 6 -count="$(times 1)" -run 'TestKill|TestOfferWithoutDescriptorNumbers' \
		./transport/handoff
	CNODE_FRONT_KILL_SESSIONS="2 300" soak -race -count="$(times 1)" -run 'TestKill|TestFrontKill' ./nodes ./nodes/workers
	soak -race -count="$(times 100)" -run TestRandomKills ./nodes/supervisor
fi

if part sound "$(times 1) times"; then
	soak -count="$(times 1)" -run 'TestGoodPluginsAreNeverAccused$' ./transport/transporttest
fi

if part callbacks "$(times 600) s"; then
	CNODE_TEST_SOAK=$(times 600)s soak -race -run TestNothingWaitsForEver ./nodes
fi

if part gate "$(times 600) s"; then
	(cd contrib/gate && CNODE_TEST_GATE_MUTATE=$(times 600)s soak -v -run TestMutatedFrames .)
fi

if part comings "$(times 600) s for each OTP"; then
	CNODE_CHAOS=$(times 600) soak -race -v -run TestComings ./test/chaos
fi

if part agreement "$(times 200) histories"; then
	CNODE_ACCORD=$(times 200) soak -v -parallel 2 -run TestAccord ./test/interop/global
	CNODE_ACCORD=$(times 2000) soak -run TestAccord ./nodes/global
fi

if part chaos "$(times 100) faulty streams for each OTP"; then
	CNODE_FAULTS=$(times 100) soak -race -run TestFaultyStreams ./test/interop
	CNODE_TEST_FAULT=$RANDOM soak -race ./test/interop
	soak -race -count="$(times 5)" -run 'TestWorker(Killed|Stopped)|TestFrontKilled' ./test/interop/workers
	soak -race -count="$(times 3)" -run Fault ./transport/... ./nodes ./tlstransport
	soak -race -run Machine ./nodes -rapid.checks="$(times 1000)"
	CNODE_CHAOS=$(times 60) soak -race -skip TestComings ./test/chaos
fi

if part fuzz "$(times 20) s each"; then
	for package in $(go list work); do
		for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
			echo "$package $target"
			fuzz "$package" "$target"
		done
	done
fi
if part platforms; then
	for other in netbsd/amd64 openbsd/amd64 linux/s390x; do # the last one has the high byte first
		GOOS=${other%/*} GOARCH=${other#*/} CGO_ENABLED=0 go build ./ei ./transport/... ./tlstransport ./nodes/...
	done
	GOARCH=386 CGO_ENABLED=0 go vet work
fi
printf '== done (%d s)\n' $((SECONDS - started))
