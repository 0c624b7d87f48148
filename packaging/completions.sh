#!/usr/bin/env bash
# Writes the completions of cnode-demo, cnode-gen and cnode-front for the shells into a directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mkdir -p "${1:?usage: packaging/completions.sh DIRECTORY}"
programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
go build -pgo=off -o "$programs" ./cmd/cnode-demo ./cmd/cnode-gen ./contrib/front/cmd/cnode-front
for name in cnode-demo cnode-gen cnode-front; do
	"$programs/$name" completion bash >"$1/$name.bash"
	"$programs/$name" completion zsh >"$1/_$name"
	"$programs/$name" completion fish >"$1/$name.fish"
done
