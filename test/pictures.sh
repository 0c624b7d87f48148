#!/usr/bin/env bash
# Makes the pictures of docs/pictures anew, from running programs. It needs Go, Chromium, Xvfb, an erl
# with wx, Elixir, and Phoenix's sources (CNODE_TEST_ELIXIR, CNODE_TEST_BEAM_PEERS).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shots=$(mktemp -d)
trap 'rm -rf "$shots"' EXIT
CNODE_TEST_SCREENSHOTS=$shots go test -count=1 -vet=off -run 'TestTrafficInBrowser$' ./nodes/debugz
CNODE_TEST_SCREENSHOTS=$shots go test -count=1 -vet=off -run 'InTerminal$' ./cmd/cnode-demo
CNODE_TEST_SCREENSHOTS=$shots go test -count=1 -vet=off -run 'OnScreen$' ./test/interop/observer
CNODE_TEST_SCREENSHOTS=$shots go test -count=1 -vet=off -short -run 'LetterInBrowser$' ./test/interop/beam
mkdir -p docs/pictures
go run ./docs/site/pictures "$shots/debugz-traffic.png" docs/pictures/debugz.png
go run ./docs/site/pictures "$shots/observer-4-processes.png" docs/pictures/observer.png
go run ./docs/site/pictures "$shots"/websockets/*.png docs/pictures/websockets.gif
for name in top tour; do
  go run ./docs/site/pictures "$shots/$name.cast" "docs/pictures/$name.svg"
done
