#!/usr/bin/env bash
# Builds the site of the documents: build/site/out. It fetches npm's packages if they are not there
# yet; all else is done without a network. It needs Go, Node.js 20 with npm, and Chromium.
#
# Of the environment, where several versions are published beside each other: CNODE_SITE_ROOT is the
# address above them all, CNODE_SITE_VERSION the tag or branch of this one, and CNODE_SITE_VERSIONS
# all of them, the newest first. Without a root the site is served at the top of any host.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

work=build/site
rm -rf "$work/.vitepress"
mkdir -p "$work/.vitepress"
cp docs/site/package.json docs/site/package-lock.json "$work"
if ! cmp -s docs/site/package-lock.json "$work/node_modules/.fetched"; then
	(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund)
	cp docs/site/package-lock.json "$work/node_modules/.fetched"
fi
go run ./docs/site --ref "${CNODE_SITE_VERSION:-main}" "$work"
playground=$work/public/playground
mkdir -p "$playground"
cp "$(go env GOROOT)/lib/wasm/wasm_exec.js" "$playground"
for program in docs/site/playground/wasm/*/; do
	GOOS=js GOARCH=wasm go build -trimpath -gcflags=all=-l -ldflags '-s -w' -o "$playground/$(basename "$program").wasm" "./$program"
done
cp -r docs/site/config.mjs docs/site/theme "$work/.vitepress"
cd "$work"
node_modules/.bin/vitepress build
echo "the site is in $work/out"
