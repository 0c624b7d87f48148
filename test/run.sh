#!/usr/bin/env bash
# Installs what is missing and tests everything, against every peer; a peer that
# cannot be had is a failure here. The last lines are those of go test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
systems=(linux darwin freebsd windows)
machines=(amd64 arm64)
others=(netbsd openbsd) # no promise: they build
hasty='-gcflags=all=-N -l' # what nobody runs need not be made fast: a third of the time, eight times over

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
here=$(go env GOHOSTOS)/$(go env GOHOSTARCH)
started=$SECONDS
step() { printf '== %s (%d s)\n' "$*" $((SECONDS - started)); }

# stubborn COMMAND tries three times: whom it fetches from may have a bad moment.
stubborn() { "$@" || { sleep 10 && "$@"; } || { sleep 30 && "$@"; }; }

step modules
stubborn go mod download
stubborn go run "$staticcheck" -version
step peers
test/prepare.sh
# shellcheck disable=SC1090,SC1091
. "${CNODE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cnode}/env"
export CNODE_TEST_REQUIRE=1
printf 'peer ergo: %s (go.mod)\n' "$(go list -m -f '{{.Version}}' github.com/ergo-services/ergo)"

step gofmt
unformatted=$(gofmt -l .)
if [[ -n $unformatted ]]; then
	printf 'not formatted:\n%s\n' "$unformatted"
	exit 1
fi

step go vet
go vet ./...
step staticcheck
go run "$staticcheck" ./...

for system in "${systems[@]}"; do
	for machine in "${machines[@]}"; do
		step "go build and vet for $system/$machine"
		how=$hasty
		[[ $system/$machine != "$here" ]] || how=-gcflags= # most of it is compiled already
		GOOS=$system GOARCH=$machine CGO_ENABLED=0 go build "$how" ./...
		GOOS=$system GOARCH=$machine CGO_ENABLED=0 go vet "$how" ./...
	done
done

step "go vet for ${others[*]}"
for system in "${others[@]}"; do
	GOOS=$system CGO_ENABLED=0 go vet "$hasty" ./...
done

step 'go test of what the race detector would hide: allocations'
go test -run 'Alloc' ./ei ./nodes/dist ./nodes ./transport ./transport/handoff

step 'go vet and test where an int has 32 bits, vet where the high byte comes first'
GOARCH=386 CGO_ENABLED=0 go vet ./...
GOARCH=s390x CGO_ENABLED=0 go vet "$hasty" ./...
[[ $(uname -m) != x86_64 ]] || GOARCH=386 CGO_ENABLED=0 go test -short -skip "TestVirtual.*Suite" ./ei ./nodes/dist ./transport ./transport/handoff ./nodes/epmd

step 'go test of the port mapper with those of OTP 27 and OTP 29; below, that of OTP 25'
for erl in $CNODE_TEST_OTP; do
	[[ $erl == 25=* ]] || PATH=$(dirname "${erl#*=}"):$PATH go test -count=1 -run 'Real|Erl' ./nodes/epmd
done

step 'go test: OTP 25, OTP 27, OTP 29, ergo, libei'
# Peers are no part of what go test's cache looks at, so tests against them run
# each time; the others run again when something has changed.
outside=$(go list ./... | grep '/test/interop' || true)
status=0
# Those that take long begin first, so that the last one does not run alone.
# shellcheck disable=SC2046
go test -race -timeout 30m ./transport/transporttest ./nodes $(go list ./... | grep -v '/test/interop') || status=1
# shellcheck disable=SC2086
[[ -z $outside ]] || go test -race -timeout 30m -count=1 $outside || status=1
step 'go test over TLS: OTP 25' # the main conversations were with all releases, in both versions of TLS
[[ -z $outside ]] || CNODE_TEST_TLS=1.2 go test -race -timeout 30m -count=1 -run '/otp25' ./test/interop || status=1
exit $status
