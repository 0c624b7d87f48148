#!/usr/bin/env bash
# Says what can be said of the code without running it: formatting, widths, go vet and staticcheck,
# whether the types are right for other systems, and those of the library for a browser.
#
#	test/lint.sh                  of the modules of go.work, for all systems
#	test/lint.sh contrib/quic     of a module below it
#	test/lint.sh . ./ei ./cmd/... of some packages, for this system
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
# No file here is for one machine alone, but golang.org/x/sys differs between them. That an int may
# have 32 bits is test/run.sh's.
others=(linux/arm64 darwin/arm64 freebsd/amd64 windows/amd64)

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
export GOFLAGS="${GOFLAGS-} -pgo=off" # default.pgo would have all packages compiled a second time
here=$(go env GOHOSTOS)/$(go env GOHOSTARCH)

# elsewhere OTHER PACKAGE... says whether packages and their tests are right for another system.
elsewhere() {
	[[ $1 != "$here" ]] || return 0
	step "types for $1"
	"$tools/typecheck" "$@"
}

step() { printf '== %s (%d s)\n' "$*" "$SECONDS"; }

# stubborn COMMAND tries three times: whom it fetches from may have a bad moment.
stubborn() { "$@" || { sleep 10 && "$@"; } || { sleep 30 && "$@"; }; }

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
typecheck() { go build -o "$tools" ./test/typecheck; }

if (($#)); then
	typecheck
	cd "$1"
	shift
	stubborn go mod download
	if ((!$#)); then
		set -- ./...
		elsewhere windows/amd64 "$@" # what is for one system alone there is for those of UNIX
	fi
	step "go vet and staticcheck of ${PWD##*/}"
	go vet "$@"
	go run "$staticcheck" "$@"
	exit
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

# A line of code has at most 140 columns and a comment 100; a table or an example in a comment, which
# go doc does not wrap, is as wide as code. A tab is one column.
step widths
if LC_ALL=C.UTF-8 grep -rnP --include='*.go' --exclude-dir={.git,testdata} '^.{141,}$|^(?=\s*//[^\t]).{101,}$' .; then
	echo 'these lines are too wide'
	exit 1
fi

step go vet
go vet work
step staticcheck
go run "$staticcheck" work

typecheck
for other in "${others[@]}"; do elsewhere "$other" work; done

# A browser has neither signals nor other processes: what needs them is exempt.
mapfile -t library < <(go list ./ei/... ./nodes/... ./transport/... ./transport/tsocket/... | grep -vE '/(nodes/(upgrade|child|workers)|handoff/service(/web)?)$')
elsewhere js/wasm "${library[@]}"
