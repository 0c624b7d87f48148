#!/usr/bin/env bash
# Does what a user does with a release, before there is one: serves the last commit as a version
# from a module proxy made of files, gets the library from it in an empty module, builds README's
# first node there, installs the commands, and calls the node with them; as root also in a file system
# in which there is nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
version=$(sed -n 's/^\tgithub.com\/cnode-go\/cnode \(v.*\)/\1/p' cmd/go.mod) # the one to come
at=$(mktemp -d)
node=
trap '[[ -z $node ]] || kill "$node"; rm -rf "$at"' EXIT

# serve MODULE FOLDER EXCEPT... puts a folder of the last commit, without the modules below it, into the proxy.
serve() {
	local to=$at/proxy/$1/@v name
	mkdir -p "$to"
	echo "$version" >"$to/list"
	echo "{\"Version\":\"$version\"}" >"$to/$version.info"
	git show "HEAD:$2go.mod" >"$to/$version.mod"
	git archive --format=zip -0 --prefix="$1@$version/" -o "$to/$version.zip" "HEAD:$2" "${@:3}"
}
except=()
while read -r name; do except+=(":!${name%/go.mod}"); done < <(git ls-files '*/go.mod')
serve github.com/cnode-go/cnode '' . "${except[@]}"
serve github.com/cnode-go/cnode/cmd cmd/ .
serve github.com/cnode-go/cnode/contrib/front contrib/front/ .

# what is fetched from elsewhere may be here already; what runs for a moment need not be made fast
GOPROXY=file://$at/proxy,file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)
export GOPROXY GOWORK=off GONOSUMDB=github.com/cnode-go GOFLAGS='-modcacherw -pgo=off -gcflags=github.com/cnode-go/...=-N' GOMODCACHE=$at/modules GOBIN=$at/root CGO_ENABLED=0

echo "== the library, $version, in an empty module"
mkdir "$at/own"
cp examples/first-node/main.go "$at/own"
cd "$at/own"
go mod init example.com/own
go get "github.com/cnode-go/cnode@$version"
go mod tidy
go build -o "$at/root/node" .
cat go.mod
beside=$(go mod edit -json | grep '"Path"' | grep -vcE 'example.com/own|cnode-go/cnode"|golang.org/x/') || true
((beside == 0)) || { echo 'its users get modules that only tests need' >&2 && exit 1; }

echo '== the commands'
go install "github.com/cnode-go/cnode/cmd/cnode-demo@$version" "github.com/cnode-go/cnode/cmd/cnode-gen@$version" \
	"github.com/cnode-go/cnode/cmd/erl-call@$version"
go install "github.com/cnode-go/cnode/contrib/front/cmd/cnode-front@$version"
for command in cnode-demo cnode-gen cnode-front; do
	"$at/root/$command" --version
	[[ $("$at/root/$command" --version) == *"$version"* ]]
done

inside=() root=$at/root
if [[ $(id -u) == 0 ]]; then
	echo '== all of it in a file system in which there is nothing else'
	inside=(chroot "$root") root=
fi
unset "${!ERL_@}" HOME
export ERL_EPMD_PORT=$((20000 + RANDOM % 10000)) # nobody's, as a rule: the node is its own port mapper there
"${inside[@]}" "$root/node" >"$at/said" &
node=$!
for ((tries = 0; tries < 100; tries++)); do
	if grep -q ready "$at/said"; then break; fi
	sleep 0.1
done
cat "$at/said"

# says WHAT COMMAND... fails if the command does not.
says() {
	local said
	said=$("${inside[@]}" "${@:2}")
	echo "$said"
	[[ $said == *"$1"* ]] || { echo "wanted: $1" >&2 && return 1; }
}
says "name go at" "$root/cnode-demo" names
says ABC "$root/cnode-demo" call go@127.0.0.1 go upper '[<<"abc">>]' --cookie secret
says '#Bin<65,66,67>' "$root/erl-call" -n go@127.0.0.1 -c secret -a 'go upper [<<"abc">>]'
