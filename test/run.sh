#!/usr/bin/env bash
# Sets up the peers and tests everything against them; a peer that cannot be had is a failure here.
#
#	test/run.sh         what is decisive: each test once, but those that take long, with the newest
#	                    release of Erlang; what nodes say to each other most with the oldest, too
#	test/run.sh elixir  projects of Elixir and Erlang, the tutorial, generated types, RabbitMQ,
#	                    ejabberd, Observer: what stands beside a node
#	test/run.sh other   other circumstances, with OTP 25: over faulty streams and over TLS, where an
#	                    int has 32 bits, and on a machine as people have them
#	test/run.sh long    all tests with all releases, and those over faulty streams and TLS, with the
#	                    race detector, for every night; says what took how long
#
#	test/run.sh lanes   says which package is tested in which of the first two, and runs nothing
#
# The first results come while the peers are installed, the last lines are those of go test. What
# repeats itself for hours is test/soak.sh's; what can be said of the code without running it is
# .ci/run's. Whoever is not root has no peers but those of the machine, and a line says so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

lane=${1:-short}
case $lane in short | elixir | other | long | lanes) ;; *) echo "usage: test/run.sh [elixir|other|long|lanes]" >&2 && exit 2 ;; esac

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
# default.pgo would have all packages compiled a second time; vet is test/lint.sh's
export GOFLAGS="${GOFLAGS-} -pgo=off -vet=off"
# a program with the race detector waits a second before it ends, for reports of goroutines that
# tests do not leave behind
export GORACE="${GORACE:+$GORACE }atexit_sleep_ms=50"
of32bits=(./ei ./internal/protocol ./transport ./transport/handoff/... ./nodes/epmd ./contrib/front) # are tested where an int has 32 bits
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

# stubborn COMMAND tries three times: whom it fetches from may have a bad moment.
stubborn() { "$@" || { sleep 10 && "$@"; } || { sleep 30 && "$@"; }; }

# sort_packages puts packages into lists: with the race detector, and of these the ones that need no
# peer, and without. Conversations and commands have the race detector in the long lane, as have terms,
# the suite for carriers, wherever it runs, the site and the table of who may do what. Where a package
# and its tests do nothing concurrently it has nothing to find, and takes three times as long to link.
# Of the conversations some come after those with the race detector: both lanes end at about the same
# time.
sort_packages() {
	local plain='/ei(/elixir)?$|/cmd/|/docs/site$|/gen(/source)?$|/test$|/transporttest$|/test/(interop|bench|libfuzzer|permission)(/|$)' package folder
	local after='/test/interop/(pubsub|global|pg|console|upgrade|processes|callsout)$'
	with=() without=() alone=() late=() beside=()
	while read -r package folder; do
		if [[ $package =~ $stand_beside ]]; then
			beside+=("$package")
		elif [[ $package =~ $after ]]; then
			late+=("$package")
		elif [[ $package =~ $plain ]] || ! grep -qsE '^\s*go |\.Go\(|sync|atomic|chan |Parallel' "$folder"/*.go; then
			without+=("$package")
		elif [[ $package == */internal/test/otp ]] || grep -qsE 'internal/test/(otp|browser|systemd)|need\.(Program|Missing)' "$folder"/*_test.go; then
			with+=("$package")
		else
			alone+=("$package")
		fi
	done < <(go list -f '{{.ImportPath}} {{.Dir}}' "${packages[@]}")
}

# longest_first prints packages in the order of what they took in earlier runs, which are in a file of
# the cache: the last one is not to run alone. In a first run those that are known to take long are first.
longest_first() {
	awk -v file="$seconds" 'FILENAME == file { took[$2] = $1; next }
		{ print ($1 in took ? took[$1] : 1e6 - FNR) "\t" $1 }' "$seconds" - | sort -rn | cut -f2
}

# tests runs go test, and remembers what each package took.
tests() {
	local out status=0
	out=$(mktemp "$logs/tests.XXXX")
	go test -timeout=30m "$@" | tee "$out" || status=1
	awk '/^ok/ && $3 ~ /^[0-9.]+s$/ { sub("s$", "", $3); print $3, $2 }' "$out" >>"$logs/seconds"
	return $status
}

suites='^Test(Conformance|Virtual.*Suite)' of_suites=(./tlstransport ./transport/virtual ./transport/tsocket/virtual)
stand_beside='/test/interop/(project|tutorial|gen|neighbours|observer)$'
cache=${CNODE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cnode}
seconds=$cache/seconds
first=(./nodes ./tlstransport ./nodes/workers ./transport ./transport/{virtual,handoff} ./nodes/upgrade
	./test/interop/{project,beam} ./test/interop ./cmd/cnode-demo ./transport/transporttest ./test/interop/{tutorial,tls,global,pubsub,pg,console})
if [[ $lane == lanes ]]; then
	mapfile -t packages < <(go list work)
	sort_packages
	printf 'short %s\n' "${with[@]}" "${alone[@]}" "${without[@]}" "${late[@]}"
	printf 'elixir %s\n' "${beside[@]}"
	exit
fi

step modules
stubborn go mod download
mkdir -p "$cache"
touch "$seconds"
mapfile -t packages < <({ go list "${first[@]}" && go list work; } | awk '!seen[$0]++' | longest_first)
peers=
if [[ $(id -u) == 0 ]]; then
	by=() env=$cache/env
	[[ $lane != short ]] || by=(day) env=$cache/env-day
	test/prepare.sh "${by[@]}" >"$logs/peers" 2>&1 & # which on an empty cache takes minutes
	peers=$!
fi

if [[ $lane == short || $lane == long ]]; then
	step 'go test of what the race detector would hide: allocations'
	go test -run=Alloc ./nodes ./transport ./transport/{tsocket,handoff,handoff/bind10} || status=1
fi

if [[ $lane == short ]]; then
	sort_packages
	step 'go test with the race detector of what needs no peer, while they are made'
	CNODE_TEST_REQUIRE=${peers:+all} tests -race -short -skip="$suites" -p="$(nproc)" "${alone[@]}" &
	early=$!
fi

step peers
if [[ -n $peers ]]; then
	wait "$peers" || { cat "$logs/peers" && exit 1; }
	cat "$logs/peers"
	# shellcheck disable=SC1090,SC1091
	. "$env"
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
		GOARCH=386 CGO_ENABLED=0 go test -short '-skip=TestVirtual.*Suite' "${of32bits[@]}" || status=1
	fi
	if [[ -n $peers ]]; then
		step 'go test on a machine as people have them: no root, no Erlang, no IPv6, settings of systemd, a long TMPDIR'
		test/ordinary.sh || status=1
	fi
	step 'go test of the port mapper with those of OTP 27 and OTP 29'
	for erl in ${CNODE_TEST_OTP-}; do
		[[ $erl == 25=* ]] || PATH=$(dirname "${erl#*=}"):$PATH go test -count=1 '-run=Real|Erl' ./nodes/epmd || status=1
	done
}

# conversations FLAG... are those with OTP 25 over carriers that make it hard, which mostly wait; with
# the race detector in the long lane.
conversations() {
	step 'go test over TLS, and at the same time over TCP with faults at every byte of a handshake, whose results come last'
	CNODE_TEST_FAULT=7 go test "$@" -timeout=30m -run=/otp25 \
		-skip='Libei|Large|Terms|Silent|Tick|Faulty|OverTLS|Examples|Board|Callback|/otp25/(libei|global_names|order|a_full)' \
		./test/interop >"$logs/faults" 2>&1 & # but for what is long, and for what is about time
	local faults=$!
	# the main conversations are in both versions of TLS, see TestConversationsOverTLS
	CNODE_TEST_TLS=1.2 go test "$@" -timeout=30m -run=/otp25 -skip='Silent|Tick|Callback' ./test/interop || status=1
	wait "$faults" || status=1
	cat "$logs/faults"
}

case $lane in
short)
	step 'go test of terms, commands and conversations, whose results come last; with the race detector of what needs a peer'
	# most tests wait most of the time: one package more than there are processors
	{
		go test -timeout=30m -short -run="$suites" "${of_suites[@]}" || status=1
		tests -short -p=$(($(nproc) + 1)) "${without[@]}" || status=1
		exit $status
	} >"$logs/without" 2>&1 &
	plain=$!
	wait "$early" || status=1
	tests -race -short -skip="$suites" -p="$(nproc)" "${with[@]}" || status=1
	step 'go test of more conversations'
	tests -short -p="$(nproc)" "${late[@]}" || status=1
	wait "$plain" || status=1
	cat "$logs/without"
	step done
	;;
elixir)
	sort_packages
	step 'go test of what stands beside a node'
	tests -short -p=$(($(nproc) + 1)) "${beside[@]}" || status=1
	step done
	;;
other)
	others
	conversations
	step done
	;;
long)
	export CNODE_TEST_TIMES=$logs/times
	step 'go test of allocations of terms'
	go test -run=Alloc ./ei ./ei/elixir || status=1
	step 'go test: all of it, with the race detector'
	tests -race -p=$(($(nproc) + 1)) "${packages[@]}" || status=1
	for module in {contrib,examples}/*/go.work; do # which are not in the repository's
		step "go test with the race detector of ${module%/go.work}"
		(cd "${module%/go.work}" && go test -race -timeout=30m ./...) || status=1
	done
	conversations -race
	step 'done; what took how long:'
	[[ ! -e $CNODE_TEST_TIMES ]] || sort -rn "$CNODE_TEST_TIMES"
	;;
esac
# of this run, and for packages that it has not run of the one before
if [[ $lane == short || $lane == elixir ]] && [[ -s $logs/seconds ]]; then
	awk '!seen[$2]++' "$logs/seconds" "$seconds" >"$logs/sorted" && cp "$logs/sorted" "$seconds"
fi
exit $status
