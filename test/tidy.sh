#!/usr/bin/env bash
# Shows what go mod tidy would change in any go.mod or go.sum of the repository, and fails if it is
# anything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export GOWORK=off # each as those have it who use it

status=0
for file in {,test/bench/,test/interop/,transport/tsocket/}go.mod {contrib,examples}/*/go.mod; do
	echo "== go mod tidy -diff of $(dirname "$file")"
	(cd "$(dirname "$file")" && go mod tidy -diff) || status=1
done
# go install takes no module with a replace, and the library's version need not exist yet
echo "== go mod tidy -diff of cmd"
with=$(mktemp -d)
trap 'rm -rf "$with"' EXIT
cp cmd/go.mod cmd/go.sum "$with"
go mod edit -replace=github.com/cnode-go/cnode="$PWD" "$with/go.mod"
(cd cmd && go mod tidy -diff -modfile="$with/go.mod") || status=1
exit $status
