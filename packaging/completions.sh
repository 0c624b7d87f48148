#!/usr/bin/env bash
# Writes the completions of cnode-demo for the shells into a directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "${1:?usage: packaging/completions.sh DIRECTORY}"
program=$(mktemp)
trap 'rm -f "$program"' EXIT
go build -pgo=off -o "$program" ./cmd/cnode-demo
"$program" completion bash >"$1/cnode-demo.bash"
"$program" completion zsh >"$1/_cnode-demo"
"$program" completion fish >"$1/cnode-demo.fish"
