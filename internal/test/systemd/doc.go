// Package systemd boots the service manager of Linux for a test: as process 1 of namespaces of its
// own (processes, mounts, control groups, names), with a root file system that test/prepare.sh has
// made. Only the network is the machine's, so that a test can talk to the services.
package systemd
