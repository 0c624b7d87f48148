#!/usr/bin/env bash
# Shows what go mod tidy would change in any go.mod or go.sum of the repository, and fails if it is
# anything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export GOWORK=off # each as those have it who use it

status=0
for file in {,test/bench/,test/interop/}go.mod {contrib,examples}/*/go.mod; do
	[[ $file != contrib/front/go.mod ]] || continue # below
	echo "== go mod tidy -diff of $(dirname "$file")"
	(cd "$(dirname "$file")" && go mod tidy -diff) || status=1
done
# go install takes no module with a replace, and the library's version need not exist yet
with=$(mktemp -d)
trap 'rm -rf "$with"' EXIT
for module in cmd contrib/front; do
	echo "== go mod tidy -diff of $module"
	cp "$module"/go.{mod,sum} "$with"
	go mod edit -replace=github.com/cnode-go/cnode="$PWD" "$with/go.mod"
	(cd "$module" && go mod tidy -diff -modfile="$with/go.mod") || status=1
done
exit $status
