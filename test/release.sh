#!/usr/bin/env bash
# Builds the artefacts of a release: .goreleaser.yaml.
#
#	test/release.sh           all but the image (if there is no docker), into dist; nothing is published
#	test/release.sh check     only looks whether the configuration is one
#	test/release.sh sums FILE writes those of cnode-front, of a release's SHA256SUMS, into the package of mix
#	test/release.sh publish   a draft on GitHub and the image, of the tag that is checked out
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

# fronts FILE prints the lines that mix cnode.front looks for, which have to be two.
fronts() {
	grep -Ex '[0-9a-f]{64}  cnode-front-linux-(amd64|arm64)' "$1" | sort -k 2 | awk '{ print } END { exit NR != 2 }'
}

if [[ ${1-} == sums ]]; then
	lines=$(fronts "${2:?the file SHA256SUMS of the release}")
	printf '%s\n' "$lines" >beam/cnode/priv/cnode-front.sha256
	exit
fi

goreleaser=github.com/goreleaser/goreleaser/v2@v2.15.1
gomod=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
tools=${CNODE_RELEASE_TOOLS:-$(mktemp -d)} # a directory to keep the programs in, for the next time
[[ -n ${CNODE_RELEASE_TOOLS-} ]] || trap 'rm -rf "$tools"' EXIT
[[ -x $tools/goreleaser ]] || GOBIN=$tools go install "$goreleaser"
[[ -x $tools/cyclonedx-gomod ]] || GOBIN=$tools go install "$gomod"
export PATH=$tools:$PATH

case ${1:-build} in
check)
	goreleaser check
	;;
build)
	skip=()
	docker buildx version >/dev/null 2>&1 || skip=(--skip=docker)
	goreleaser release --snapshot --clean "${skip[@]}"
	(cd dist && sha256sum -c --quiet ./*_SHA256SUMS)
	fronts dist/*_SHA256SUMS >/dev/null
	for command in cnode-demo cnode-front; do
		dist/"$command"_"$(go env GOOS)"_"$(go env GOARCH)"*/"$command" --version
	done
	;;
publish)
	docker buildx create --use --driver docker-container # the default one builds for one machine only
	docker login ghcr.io --username "$GITHUB_ACTOR" --password-stdin <<<"$GITHUB_TOKEN"
	goreleaser release --clean
	;;
*)
	echo 'usage: test/release.sh [check|sums FILE|publish]' >&2
	exit 2
	;;
esac
