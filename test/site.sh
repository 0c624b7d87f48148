#!/usr/bin/env bash
# Builds the site of the documents and tests it in a browser.
#
#	test/site.sh            as it is here: build/site/out
#	test/site.sh publish    then all versions beside each other: build/pages
#
# A version is what a tag has, and "main" is the checkout. Each is built by its own docs/site/build.sh;
# the top of the site leads to the newest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export GOFLAGS="${GOFLAGS-} -pgo=off" # default.pgo would have all packages compiled a second time
docs/site/build.sh
CNODE_TEST_SITE=$PWD/build/site/out go test -count=1 ./docs/site
[[ ${1-} == publish ]] || exit 0

pages=$PWD/build/pages
rm -rf "$pages"
mkdir -p "$pages"
tags=()
for tag in $(git tag --list 'v*' --sort=-version:refname); do
	if git cat-file -e "$tag:docs/site/build.sh" 2>/dev/null; then tags+=("$tag"); fi
done
versions=("${tags[@]}" main)
repository=${GITHUB_REPOSITORY:-cnode-go/cnode}
export CNODE_SITE_ROOT=https://${repository%/*}.github.io/${repository#*/}/ CNODE_SITE_VERSIONS="${versions[*]}"

trap 'git worktree prune' EXIT
for version in "${versions[@]}"; do
	from=$PWD
	if [[ $version != main ]]; then
		from=$PWD/build/versions/$version
		rm -rf "$from"
		git worktree prune
		git worktree add --detach "$from" "$version"
	fi
	CNODE_SITE_VERSION=$version "$from/docs/site/build.sh"
	cp -r "$from/build/site/out" "$pages/$version"
	[[ $version == main ]] || rm -rf "$from"
done
newest=${versions[0]}
printf '<!doctype html><meta http-equiv="refresh" content="0; url=%s/"><a href="%s/">cnode</a>\n' "$newest" "$newest" >"$pages/index.html"
sed "s#](\./#](./$newest/#" "$pages/$newest/llms.txt" >"$pages/llms.txt"
