#!/usr/bin/env bash
# Sets up the peers and tests everything against each of them; a peer that cannot
# be had is a failure here. The first results come while the peers are installed,
# the last lines are those of go test. What can be said of the code without
# running it is .ci/run's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

of32bits=(./ei ./nodes/dist ./transport ./transport/handoff ./nodes/epmd) # are tested where an int has 32 bits
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
started=$SECONDS spent=0 stolen=0
subtests= # of those that are tried once more; empty: all
logs=$(mktemp -d)
trap 'wait; rm -rf "$logs"' EXIT

# step says what comes, and how much of the processors' time the host has given to others during the step before: a test that waited in vain
# may have had none.
step() {
	local clock=(0 0 0 0 0 0 0 0 0) all=0 share=0 i
	[[ ! -r /proc/stat ]] || read -ra clock </proc/stat # proc_stat(5): user nice system idle iowait irq softirq steal
	for i in {1..8}; do all=$((all + clock[i])); done
	((spent == 0 || all == spent)) || share=$((100 * (clock[8] - stolen) / (all - spent)))
	printf '== %s (%d s; %d %% of the time before stolen)\n' "$*" $((SECONDS - started)) "$share"
	spent=$all stolen=${clock[8]}
}

# tests FLAG... PACKAGE... is go test. What fails is tried once more, by itself: where the host takes the processors away for seconds at a time,
# somebody is too late. Data races, panics, leaks and more than a handful of failures are never tried again.
tests() {
	local word flags=() packages=() log again package names
	for word in "$@"; do
		case $word in -*) flags+=("$word") ;; *) packages+=("$word") ;; esac
	done
	log=$(mktemp -p "$logs")
	if go test "${flags[@]}" "${packages[@]}" 2>&1 | tee "$log"; then return; fi
	again=$(awk '
		/^(WARNING: DATA RACE|panic: |fatal error: )/ { exit hopeless = 1 }
		/^--- FAIL: / { names = names "|" $3; count++ }
		/^FAIL\t/ { if (names == "") exit hopeless = 1; print $2, substr(names, 2); names = "" }
		END { exit hopeless || !count || count > 5 }' "$log") || return 1
	while read -r package names; do
		step "once more: $names of $package"
		go test "${flags[@]}" -count=1 -run="^($names)\$$subtests" "$package" || return 1
	done <<<"$again"
}

# stubborn COMMAND tries three times: whom it fetches from may have a bad moment.
stubborn() { "$@" || { sleep 10 && "$@"; } || { sleep 30 && "$@"; }; }

step modules
stubborn go mod download
test/prepare.sh >"$logs/peers" 2>&1 & # which on an empty cache takes minutes
peers=$!

step 'go test of what the race detector would hide: allocations'
tests -run=Alloc ./ei ./nodes/dist ./nodes ./transport ./transport/handoff

step peers
wait $peers || { cat "$logs/peers" && exit 1; }
cat "$logs/peers"
# shellcheck disable=SC1090,SC1091
. "${CNODE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cnode}/env"
export CNODE_TEST_REQUIRE=$EPOCHREALTIME # never the same: the cache of go test has no results for those that look for an Erlang node
printf 'peer ergo: %s (go.mod)\n' "$(go list -m -f '{{.Version}}' github.com/ergo-services/ergo)"

step 'go test on a machine as people have them: no root, no Erlang, no IPv6, settings of systemd, a long TMPDIR'
test/ordinary.sh || { step 'once more: all of them' && test/ordinary.sh; }

# runs32 tells whether the kernel runs programs for GOARCH=386: some virtual machines' do not.
runs32() {
	GOARCH=386 CGO_ENABLED=0 go test -c -o "$logs/of32bits" ./ei && "$logs/of32bits" -test.run='^$' >/dev/null 2>&1
}

# What runs beside the race detector's tests, and has its lines below theirs.
beside() {
	local status=0 erl
	if [[ $(uname -m) != x86_64 ]]; then
		:
	elif ! runs32; then
		step 'go vet where an int has 32 bits: this kernel runs no programs of 32 bits'
		GOARCH=386 CGO_ENABLED=0 go vet "${of32bits[@]}" || status=1
	else
		step 'go test where an int has 32 bits'
		GOARCH=386 CGO_ENABLED=0 tests -short '-skip=TestVirtual.*Suite' "${of32bits[@]}" || status=1
	fi
	step 'go test of the port mapper with those of OTP 27 and OTP 29; above, that of OTP 25'
	for erl in $CNODE_TEST_OTP; do
		[[ $erl == 25=* ]] || PATH=$(dirname "${erl#*=}"):$PATH tests -count=1 '-run=Real|Erl' ./nodes/epmd || status=1
	done
	subtests=/otp25
	step 'go test over TCP with faults at every byte of a handshake: OTP 25' # but for what is long, and for what is about time
	CNODE_TEST_FAULT=7 tests -race -timeout=30m -run="$subtests" \
		-skip='Libei|Large|SinkAndSource|Order|Terms|Silent|Tick|Faulty|OverTLS|Examples|Board|FullMailbox|UnreadMailbox|Callback|CallBack' ./test/interop || status=1
	return $status
}

step 'go test: OTP 25, OTP 27, OTP 29, ergo, libei'
beside >"$logs/beside" 2>&1 &
lane=$! status=0
# Most tests wait most of the time: one package more than there are processors. Those that take long begin first, so that the last one does
# not run alone.
# shellcheck disable=SC2046
tests -race -p=$(($(nproc) + 1)) -timeout=30m \
	./transport/transporttest ./nodes ./test/interop ./transport ./tlstransport ./test/interop/tls ./cmd/cnode-demo $(go list ./...) || status=1
wait $lane || status=1
cat "$logs/beside"
# Not beside the others: a handshake has seven seconds, and with TLS needs more of them where the processors are slow and busy.
step 'go test over TLS: OTP 25' # the main conversations were with all releases, in both versions of TLS
subtests=/otp25
CNODE_TEST_TLS=1.2 tests -race -timeout=30m -run="$subtests" ./test/interop || status=1
exit $status
