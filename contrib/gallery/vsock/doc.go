// Package cnodevsock carries connections between a machine and the virtual machines on it, over
// vsock(7): no network, no address, no firewall, and nothing that others could listen to. One wants
// it for a node inside a micro-VM (Firecracker, Cloud Hypervisor, QEMU) that a node of the host
// controls, or for two such nodes by way of the host. It moves to another process, as TCP does.
// Linux only, with a device or the loopback of vsock.
package cnodevsock
