#!/bin/sh
# After a package is installed or upgraded. Nothing is started: the node has no cookie yet, or a
# "systemctl reload cnode" is to have it go on in the new program without a nodedown.
set -e
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers cnode.conf
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
