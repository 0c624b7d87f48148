#!/bin/sh
# Runs the program that this file is called by (erl, epmd, erlc, erl_call) from
# the root file system in ../root, in a mount namespace of its own: nothing is
# left mounted when the program ends, and the process keeps the number it was
# started with. The temporary directory, /proc, /dev, /sys and the host's name
# tables are the host's; so are the network and the process table.
set -eu
CNODE_ROOT=$(cd "$(dirname "$0")/../root" && pwd)
export CNODE_ROOT
exec unshare --mount sh -euc '
root=$CNODE_ROOT
program=$1
shift
unset CNODE_ROOT
share() {
	if [ -d "$1" ]; then
		[ -d "$root$1" ] || mkdir -p "$root$1"
		mount --rbind "$1" "$root$1"
	elif [ -f "$1" ]; then
		[ -f "$root$1" ] || : >"$root$1"
		mount --bind "$1" "$root$1"
	fi
}
share /proc
share /dev
share /sys
share /tmp
case ${TMPDIR:-/tmp} in
/tmp | /tmp/*) ;;
*) share "$TMPDIR" ;;
esac
share /etc/hosts
share /etc/resolv.conf
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
exec chroot "$root" "$program" "$@"
' sh "$(basename "$0")" "$@"
