#!/usr/bin/env bash
# Shows what go mod tidy would change in any go.mod or go.sum of the repository, and fails if it is
# anything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

status=0
for file in go.mod {contrib,examples}/*/go.mod; do
	echo "== go mod tidy -diff of $(dirname "$file")"
	(cd "$(dirname "$file")" && go mod tidy -diff) || status=1
done
exit $status
