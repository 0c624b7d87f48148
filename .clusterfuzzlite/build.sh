#!/usr/bin/env bash
# Builds all fuzz targets into $OUT, in the directory of the module; test/libfuzzer.sh runs it elsewhere.
# oss-fuzz's own compile_native_go_fuzzer builds none that uses what is in another file of tests.
set -euo pipefail

if [[ ${SANITIZER:-address} != address ]]; then
	echo "with the address sanitizer only, not with $SANITIZER" >&2
	exit 1
fi
export GOFLAGS="${GOFLAGS-} -buildvcs=false" # git may take the source for somebody else's
exec go run ./test/libfuzzer "$OUT" "$@"
