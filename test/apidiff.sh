#!/usr/bin/env bash
# Compares what the packages export with the last tagged version. From version 1 on a change by
# which a program may cease to compile is an error, before that only if CNODE_PATCH=yes says that a
# patch is released; else it is listed, for CHANGELOG.md. Without a tag there is nothing to compare
# with.
#
#	test/apidiff.sh               with the last tag
#	test/apidiff.sh COMMIT        with that commit, for which all changes are listed only
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export GOWORK=off # the library alone
apidiff=golang.org/x/exp/cmd/apidiff@v0.0.0-20261113113407-e3970619a1a4
before=${1:-$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)}
if [[ -z $before ]]; then
	echo 'apidiff: no version is tagged yet: nothing to compare with'
	exit
fi
at=$(mktemp -d)
trap 'git worktree remove --force "$at/before" 2>/dev/null; rm -rf "$at"' EXIT
git worktree add --quiet --detach "$at/before" "$before"
GOBIN=$at go install "$apidiff"

# promised leaves out what nobody is to import.
promised() { grep -vE '^(Ignoring internal package |- (package [^ ]*/cnode|\.)/(cmd|docs|examples|test)[/.:])' || true; }

module=$(go list -m)
(cd "$at/before" && "$at/apidiff" -m -w "$at/old" "$module") 2>&1 | promised
"$at/apidiff" -m -w "$at/new" "$module" 2>&1 | promised
echo "== changes since $before"
"$at/apidiff" -m "$at/old" "$at/new" 2>&1 | promised
breaks=$("$at/apidiff" -m -incompatible "$at/old" "$at/new" 2>/dev/null | promised)
# In version 0 a minor version may break what a patch may not.
[[ $before != v0.* || ${CNODE_PATCH-} == yes ]] || breaks=
if [[ -n $breaks && -z ${1-} ]]; then
	echo "apidiff: programs that compile with $before may not with this; see above" >&2
	exit 1
fi
