#!/usr/bin/env bash
# Tests against the real peers with one release of Erlang: on a Debian machine, as root, which
# test/prepare.sh sets up. test/run.sh long does it with all releases.
#
#	test/interop.sh 27                        all conversations with OTP 27
#	test/interop.sh newest                    with what Debian's unstable has
#	test/interop.sh 27 ./test/interop/pg      these packages
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

wanted=${1:?usage: test/interop.sh 25|27|29|newest [PACKAGE...]}
shift
(($#)) || set -- ./test/interop/... ./nodes/epmd ./internal/protocol ./ei/... ./cmd/erl-call
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
export GOFLAGS="${GOFLAGS-} -pgo=off" # default.pgo would have all packages compiled a second time

test/prepare.sh
# shellcheck disable=SC1090,SC1091
. "${CNODE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cnode}/env"
releases=$CNODE_TEST_OTP
[[ $wanted != newest ]] || releases=$(test/prepare.sh newest)
export CNODE_TEST_OTP=
for release in $releases; do
	[[ $wanted != newest && $release != "$wanted"=* ]] || CNODE_TEST_OTP=$release
done
[[ -n $CNODE_TEST_OTP ]] || { echo "no OTP $wanted: there are $releases" >&2 && exit 1; }
echo "== with $CNODE_TEST_OTP"
# Not from the cache of go test, which does not see what a peer has become.
exec go test -count=1 -timeout=60m "$@"
