#!/usr/bin/env bash
# Sets up the peers and tests everything against them; a peer that cannot be had is a failure here.
#
#	test/run.sh         each test once, but those that take long; what nodes say to each other most
#	                    with all releases of Erlang, the rest with the newest
#	test/run.sh other   other circumstances, with OTP 25: over faulty streams and over TLS, where an
#	                    int has 32 bits, and on a machine as people have them
#	test/run.sh long    all tests with all releases, for every night; says what took how long
#
# The first results come while the peers are installed, the last lines are those of go test. What
# repeats itself for hours is test/soak.sh's; what can be said of the code without running it is
# .ci/run's. Whoever is not root has no peers but those of the machine, and a line says so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

lane=${1:-short}
case $lane in short | other | long) ;; *) echo "usage: test/run.sh [other|long]" >&2 && exit 2 ;; esac

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
export GOFLAGS="${GOFLAGS-} -pgo=off" # default.pgo would have all packages compiled a second time
of32bits=(./ei ./nodes/dist ./transport ./transport/handoff/... ./nodes/epmd) # are tested where an int has 32 bits
started=$SECONDS spent=0 stolen=0 status=0
logs=$(mktemp -d)
trap 'wait; rm -rf "$logs"' EXIT

# step says what comes, and how much of the processors' time the host has given to others during
# the step before: a test that waited in vain may have had none.
step() {
	local clock=(0 0 0 0 0 0 0 0 0) all=0 share=0 i
	[[ ! -r /proc/stat ]] || read -ra clock </proc/stat # proc_stat(5): user nice system idle iowait irq softirq steal
	for i in {1..8}; do all=$((all + clock[i])); done
	((spent == 0 || all == spent)) || share=$((100 * (clock[8] - stolen) / (all - spent)))
	printf '== %s (%d s; %d %% of the time before stolen)\n' "$*" $((SECONDS - started)) "$share"
	spent=$all stolen=${clock[8]}
}

# tests SUBTESTS FLAG... PACKAGE... is go test. A test that test/testdata/unsteady lists is tried
# once more when it fails, by itself; its rate and its reason stand there. Nothing else is; data
# races, panics, leaks and more than a handful of failures never are.
tests() {
	local subtests=$1 word flags=() packages=() log again package names
	shift
	for word in "$@"; do
		case $word in -*) flags+=("$word") ;; *) packages+=("$word") ;; esac
	done
	log=$(mktemp -p "$logs")
	if go test "${flags[@]}" "${packages[@]}" 2>&1 | tee "$log"; then return; fi
	again=$(awk '
		FNR == NR { if ($1 !~ /^#/) listed[$1 "." $2]; next }
		/^(WARNING: DATA RACE|panic: |fatal error: )/ { exit hopeless = 1 }
		/^--- FAIL: / { failed[++count] = $3 }
		/^FAIL\t/ {
			package = $2; sub(/^github.com\/cnode-go\/cnode\//, "", package); names = ""
			for (i = 1; i <= count; i++) {
				if (!((package "." failed[i]) in listed) && !("*.*" in listed)) exit hopeless = 1
				names = names "|" failed[i]
			}
			if (!count) exit hopeless = 1
			print "./" package, substr(names, 2); all += count; count = 0
		}
		END { exit hopeless || !all || all > 5 }' test/testdata/unsteady "$log") || return 1
	while read -r package names; do
		step "once more, see test/testdata/unsteady: $names of $package"
		go test "${flags[@]}" -count=1 -run="^($names)\$$subtests" "$package" || return 1
	done <<<"$again"
}

# stubborn COMMAND tries three times: whom it fetches from may have a bad moment.
stubborn() { "$@" || { sleep 10 && "$@"; } || { sleep 30 && "$@"; }; }

step modules
stubborn go mod download
peers=
if [[ $(id -u) == 0 ]]; then
	test/prepare.sh >"$logs/peers" 2>&1 & # which on an empty cache takes minutes
	peers=$!
fi

if [[ $lane != other ]]; then
	step 'go test of what the race detector would hide: allocations'
	tests '' -run=Alloc ./nodes/dist ./nodes ./transport ./transport/handoff/... || status=1
fi

step peers
if [[ -n $peers ]]; then
	wait "$peers" || { cat "$logs/peers" && exit 1; }
	cat "$logs/peers"
	# shellcheck disable=SC1090,SC1091
	. "${CNODE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cnode}/env"
	export CNODE_TEST_REQUIRE=$EPOCHREALTIME # never the same: the cache of go test has no results for those that look for an Erlang node
else
	echo 'not root: without the peers that test/prepare.sh makes; tests that need one are skipped, and so is what only root may do'
fi
printf 'peer ergo: %s (test/interop/go.mod)\n' "$(go list -m -f '{{.Version}}' github.com/ergo-services/ergo)"

# runs32 tells whether the kernel runs programs for GOARCH=386: some virtual machines' do not.
runs32() {
	GOARCH=386 CGO_ENABLED=0 go test -c -o "$logs/of32bits" ./ei && "$logs/of32bits" -test.run='^$' >/dev/null 2>&1
}

# others runs tests in other circumstances: not beside the many, since a handshake has seven seconds,
# and with TLS needs more of them where the processors are slow and busy.
others() {
	local erl
	if [[ $(uname -m) != x86_64 ]]; then
		:
	elif ! runs32; then
		step 'go vet where an int has 32 bits: this kernel runs no programs of 32 bits'
		GOARCH=386 CGO_ENABLED=0 go vet "${of32bits[@]}" || status=1
	else
		step 'go test where an int has 32 bits'
		GOARCH=386 CGO_ENABLED=0 tests '' -short '-skip=TestVirtual.*Suite' "${of32bits[@]}" || status=1
	fi
	if [[ -n $peers ]]; then
		step 'go test on a machine as people have them: no root, no Erlang, no IPv6, settings of systemd, a long TMPDIR'
		test/ordinary.sh || status=1
	fi
	step 'go test of the port mapper with those of OTP 27 and OTP 29'
	for erl in ${CNODE_TEST_OTP-}; do
		[[ $erl == 25=* ]] || PATH=$(dirname "${erl#*=}"):$PATH tests '' -count=1 '-run=Real|Erl' ./nodes/epmd || status=1
	done
	step 'go test over TCP with faults at every byte of a handshake' # but for what is long, and for what is about time
	CNODE_TEST_FAULT=7 tests /otp25 -race -timeout=30m -run=/otp25 \
		-skip='Libei|Large|SinkAndSource|Order|Terms|Silent|Tick|Faulty|OverTLS|Examples|Board|FullMailbox|UnreadMailbox|Callback|CallBack' \
		./test/interop || status=1
	step 'go test over TLS' # the main conversations are in both versions of TLS, with all releases
	CNODE_TEST_TLS=1.2 tests /otp25 -race -timeout=30m -run=/otp25 -skip='Silent|Tick|UnreadMailbox|Callback|CallBack' ./test/interop || status=1
}

# Those that take long begin first, so that the last one does not run alone. Most tests wait most of
# the time: one package more than there are processors.
first=(./nodes ./test/interop ./transport/transporttest ./transport ./tlstransport ./test/interop/tls ./cmd/cnode-demo)
mapfile -t packages < <(printf '%s\n' "${first[@]}" && go list work)
case $lane in
short)
	# Terms have no goroutines; conversations have the race detector in the long lane.
	plain='/ei(/elixir)?$|/test/interop(/|$)'
	mapfile -t without < <(printf '%s\n' "${packages[@]}" | grep -E "$plain")
	mapfile -t packages < <(printf '%s\n' "${packages[@]}" | grep -vE "$plain")
	step 'go test: each once; at the same time terms and conversations, whose results come last'
	tests '' -short -p="$(nproc)" -timeout=30m "${without[@]}" >"$logs/without" 2>&1 &
	beside=$!
	tests '' -race -short -p="$(nproc)" -timeout=30m "${packages[@]}" || status=1
	wait "$beside" || status=1
	cat "$logs/without"
	step done
	;;
other)
	others
	step done
	;;
long)
	export CNODE_TEST_TIMES=$logs/times
	step 'go test of allocations of terms'
	tests '' -run=Alloc ./ei ./ei/elixir || status=1
	step 'go test: all of it, with the race detector'
	tests '' -race -p=$(($(nproc) + 1)) -timeout=30m "${packages[@]}" || status=1
	step 'done; what took how long:'
	[[ ! -e $CNODE_TEST_TIMES ]] || sort -rn "$CNODE_TEST_TIMES"
	;;
esac
exit $status
