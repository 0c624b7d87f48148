#!/usr/bin/env bash
# Says what can be said of the code without running it: formatting, go vet and staticcheck, and
# whether it builds for other systems.
#
#	test/lint.sh                  of the modules of go.work, for all systems
#	test/lint.sh contrib/quic     of a module below it
#	test/lint.sh . ./ei ./cmd/... of some packages, for this system
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
systems=(linux darwin freebsd windows)
machines=(amd64 arm64)
hasty='-gcflags=all=-N -l' # what nobody runs need not be made fast: a third of the time, seven times over

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
export GOFLAGS="${GOFLAGS-} -pgo=off" # default.pgo would have all packages compiled a second time
here=$(go env GOHOSTOS)/$(go env GOHOSTARCH)

step() { printf '== %s (%d s)\n' "$*" "$SECONDS"; }

# stubborn COMMAND tries three times: whom it fetches from may have a bad moment.
stubborn() { "$@" || { sleep 10 && "$@"; } || { sleep 30 && "$@"; }; }

if (($#)); then
	cd "$1"
	shift
	stubborn go mod download
	if ((!$#)); then
		set -- ./...
		for system in "${systems[@]}"; do
			[[ $system/amd64 != "$here" ]] || continue
			step "go build of ${PWD##*/} for $system"
			GOOS=$system GOARCH=amd64 CGO_ENABLED=0 go build "$hasty" -o /dev/null ./...
		done
	fi
	step "go vet and staticcheck of ${PWD##*/}"
	go vet "$@"
	exec go run "$staticcheck" "$@"
fi

step modules
stubborn go mod download
stubborn go run "$staticcheck" -version

step gofmt
unformatted=$(gofmt -l .)
if [[ -n $unformatted ]]; then
	printf 'not formatted:\n%s\n' "$unformatted"
	exit 1
fi

step go vet
go vet work
step staticcheck
go run "$staticcheck" work

for system in "${systems[@]}"; do
	for machine in "${machines[@]}"; do
		[[ $system/$machine != "$here" ]] || continue # vetted above, and built by the tests
		step "go build for $system/$machine"
		GOOS=$system GOARCH=$machine CGO_ENABLED=0 go build "$hasty" -o /dev/null work
		[[ $machine == amd64 ]] || continue # the tests, too; hardly a file is for one machine alone
		step "go vet for $system/$machine"
		GOOS=$system GOARCH=$machine CGO_ENABLED=0 go vet "$hasty" work
	done
done
