#!/bin/sh
# boot.sh ROOT DIR GROUP makes a machine of the root file system ROOT, and becomes
# systemd. It is process 1 of a process, a mount, an IPC and a UTS namespace
# already. DIR/files has what is added to ROOT, which itself is never changed.
# boot.sh clean DIR GROUP removes what the end of the machine leaves: its control
# groups, which are the directory GROUP.
#
# Whatever fails before "booting" is printed is a right that this machine lacks.
set -eu
mount --make-rprivate /
if [ "$1" = clean ]; then
	mount -t cgroup2 cgroup2 "$2/groups"
	find "$2/groups/$3" -depth -type d -exec rmdir {} +
	exit
fi
root=$1 dir=$2 group=$3
mkdir -p "$dir/groups" "$dir/over" "$dir/root"

# Process 1's own group becomes the root of the group namespace.
mount -t cgroup2 cgroup2 "$dir/groups"
mkdir "$dir/groups/$group"
echo 0 >"$dir/groups/$group/cgroup.procs"

mount -t tmpfs tmpfs "$dir/over"
mkdir "$dir/over/upper" "$dir/over/work"
mount -t overlay -o "lowerdir=$root,upperdir=$dir/over/upper,workdir=$dir/over/work" overlay "$dir/root"
cp -a "$dir/files/." "$dir/root"
cd "$dir/root"
mkdir -p proc sys dev run tmp host
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs dev
for device in null zero random urandom; do
	: >"dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
exec unshare --cgroup sh -euc '
	mount -t cgroup2 cgroup2 sys/fs/cgroup
	pivot_root . host
	umount -l host
	mount --make-rshared / # as machines have it: systemd 257 mounts credentials by it
	echo booting
	exec env -i container=test PATH=/usr/sbin:/usr/bin /lib/systemd/systemd \
		--unit=test.target --log-target=journal --show-status=no </dev/null
'
