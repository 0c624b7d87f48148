#!/usr/bin/env bash
# Installs what a bare Debian lacks for test/prepare.sh and test/run.sh, as root; on a machine that
# has it, nothing changes.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
want=()
for name in ca-certificates gcc git libc6-dev; do # C for the race detector
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || want+=("$name")
done
if ((${#want[@]})); then
	apt-get -o Acquire::Retries=5 update
	apt-get -o Acquire::Retries=5 install -y --no-install-recommends "${want[@]}"
fi
git config --global --get-all safe.directory 2>/dev/null | grep -qxF "$PWD" ||
	git config --global --add safe.directory "$PWD" # a clone that another user has made, as in a container
