#!/usr/bin/env bash
# Makes the pictures of docs/pictures anew, from running programs. It needs Go and Chromium.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shots=$(mktemp -d)
trap 'rm -rf "$shots"' EXIT
CNODE_TEST_SCREENSHOTS=$shots go test -count=1 -vet=off -run 'TestInBrowser$' ./nodes/debugz
mkdir -p docs/pictures
go run ./docs/site/pictures "$shots/debugz-light-1400.png" docs/pictures/debugz.png
