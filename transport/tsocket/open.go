package tsocket

import (
	"fmt"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

// OpenUDP opens a UDP socket, bound to the local address; with a remote address that is not nil it
// is connected: it receives from there, and sends there, only. Both are of one family, IPv4 or
// IPv6, else EINVAL; the wildcard :: takes that of the remote address, as for ConnectTCP. A local
// address of nil, allowed beside a remote one, leaves the choice to the system. An IPv6 socket
// carries IPv6 only. The port is not shared: SO_REUSEADDR, with which another process could take it
// over, is not set. Nor is SO_BROADCAST: whoever sends to a broadcast address sets it by
// Datagram.SyscallConn. See tdgram_inet_udp_socket.
func OpenUDP(local, remote transport.Addr) (*Datagram, error) {
	if local == nil && remote == nil {
		return nil, opError("open", nil, fmt.Errorf("a UDP socket with no address: %w", syscall.EINVAL))
	}
	first := remote
	if first == nil {
		first = local
	}
	local, err := inetPair(local, first)
	if err != nil {
		return nil, opError("open", first, err)
	}
	d, err := openUDP(local, remote)
	return d, opError("open", first, err)
}

// OpenUnixgram opens a UNIX datagram socket at the local address; nil or empty is an unnamed
// socket, to which nobody can send. A path is made, taken over from a process that has died, and
// removed by Close. With a remote address that is not nil the socket is connected. An address of
// another kind is EINVAL. errors.ErrUnsupported where the system has none (windows). See
// tdgram_unix_socket.
func OpenUnixgram(local, remote transport.Addr) (*Datagram, error) {
	first := remote
	if first == nil {
		first = local
	}
	err := checkUnix(orUnnamed(local))
	if err == nil && remote != nil {
		err = checkNamed(remote)
	}
	if err != nil {
		return nil, opError("open", first, err)
	}
	d, err := openUnixgram(orUnnamed(local), remote)
	return d, opError("open", first, err)
}

// AdoptDatagram makes a Datagram of a UDP or UNIX datagram descriptor, connected or not, as
// transport.AdoptStream does of a stream's; EINVAL for a socket that is not one of datagrams. An
// IPv6 socket that carries IPv4, too, goes on doing so. A UDP socket without a port gets one, which
// the system would otherwise give it with its first datagram. Close removes the path of a UNIX
// socket.
func AdoptDatagram(fd int) (*Datagram, error) {
	d, err := adoptDatagram(fd)
	return d, opError("adopt", nil, err)
}
