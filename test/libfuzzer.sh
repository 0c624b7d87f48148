#!/usr/bin/env bash
# Builds the fuzz targets as ClusterFuzzLite does, and runs each of them from its seeds. It needs clang
# with libFuzzer (Debian: clang).
#
#	test/libfuzzer.sh                   all, 5 seconds each
#	test/libfuzzer.sh 60 ./ei ./nodes   those of some packages, a minute each
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
export CC=clang CXX=clang++ CXXFLAGS=-fsanitize=address LIB_FUZZING_ENGINE=-fsanitize=fuzzer
seconds=${1:-5}
(($#)) && shift
OUT=$(mktemp -d)
export OUT
.clusterfuzzlite/build.sh "$@"
for target in "$OUT"/*_Fuzz*; do
	[[ -x $target ]] || continue
	seeds=$(mktemp -d)
	log=$(mktemp)
	CNODE_LIBFUZZER_SEEDS=$seeds "$target" >"$log" 2>&1
	if ! "$target" -max_total_time="$seconds" -artifact_prefix="$OUT/" "$seeds" >"$log" 2>&1; then
		cat "$log"
		echo "${target##*/} found a fault: what it was given is in $OUT"
		exit 1
	fi
	echo "${target##*/}: $(sed -n 's/^#[0-9]*\tDONE *//p' "$log")"
	rm -rf "$seeds" "$log" "$target"
done
rm -rf "$OUT"
