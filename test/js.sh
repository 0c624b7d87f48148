#!/usr/bin/env bash
# Runs the tests of what runs in a browser, as WebAssembly in Node.js: terms, the distribution's
# bytes, and nodes that talk in memory. It takes a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export GOFLAGS="${GOFLAGS-} -pgo=off" GOOS=js GOARCH=wasm
exec go test -vet=off -short -exec "$(go env GOROOT)/lib/wasm/go_js_wasm_exec" ./ei ./internal/protocol ./nodes/dist ./nodes/nodestest "$@"
