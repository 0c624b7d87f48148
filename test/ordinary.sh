#!/usr/bin/env bash
# Runs tests of sockets on a machine as people have them: a user who is not root
# and of whom nothing is known, no Erlang or other program on the PATH, no IPv6,
# the queues of datagrams as long as systemd makes them, few descriptors, and
# temporary files behind a path that is too long for a socket. Needs root, to make
# all that: a network of its own, and a copy of the code that everybody can read.
# About half a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
nobody=65534 # on every Linux: the kernel's overflow user, see user_namespaces(7)
at=$(mktemp -d)
trap 'rm -rf "$at"' EXIT
long=$at/$(printf 'long-%.0s' {1..24})
mkdir "$at/code" "$at/home" "$long"
tar --exclude=./.git -cf - . | tar --no-same-owner -xf - -C "$at/code"
go test -c -o "$at/" ./transport ./transport/handoff/{,beam,bind10,jsoncomm} ./tlstransport ./nodes ./nodes/epmd
chmod -R go=rX "$at" # mktemp's directory is its maker's alone
chown "$nobody:$nobody" "$at/home" "$long"

# run FOLDER FLAG... runs a package's tests in its folder as nobody, and shows what
# they print if they fail.
run() {
	local program=$at/${1##*/}.test begun=$SECONDS
	cd "$at/code/$1"
	if setpriv --reuid="$nobody" --regid="$nobody" --clear-groups env -i HOME="$at/home" TMPDIR="$long" PATH="$at/home" \
		"$program" -test.short -test.timeout=5m "${@:2}" >"$program.log" 2>&1; then
		printf 'ok  \t%s\t%ds\n' "$1" $((SECONDS - begun))
	else
		cat "$program.log"
		printf 'FAIL\t%s\t%ds\n' "$1" $((SECONDS - begun))
		return 1
	fi
}

# tests runs what the machine has a say in, all at the same time because most of it
# waits: not how long readers poll, nor the suites for plug-ins, nor processes that
# are killed; of nodes what has to do with paths.
tests() {
	local job jobs=() status=0
	ip link set lo up
	echo 512 >/proc/sys/net/unix/max_dgram_qlen # as systemd sets it, from its version 228 on
	if [[ -d /proc/sys/net/ipv6 ]]; then
		tee /proc/sys/net/ipv6/conf/{all,default,lo}/disable_ipv6 <<<1 >/dev/null
	fi
	ulimit -n 1024
	run transport -test.skip='Suite|Polling|Plugin|Full|Queue|NetConn|FromNet|Direct' & jobs+=($!)
	run transport/handoff -test.skip='Kill|Hostile' & jobs+=($!)
	run transport/handoff/beam & jobs+=($!)
	run transport/handoff/bind10 -test.skip=Kill & jobs+=($!)
	run transport/handoff/jsoncomm -test.skip=Hostile & jobs+=($!)
	run tlstransport -test.run=File & jobs+=($!)
	run nodes -test.run='Unix|Dir|Activate|Transports' & jobs+=($!)
	run nodes/epmd & jobs+=($!)
	for job in "${jobs[@]}"; do wait "$job" || status=1; done
	return $status
}

# A network has settings of its own.
unshare --net bash -euo pipefail -c "$(declare -p at long nobody); $(declare -f run tests); tests"
