//go:build !unix

package tsocket

import (
	"errors"
	"fmt"
	"net"

	"github.com/cnode-go/cnode/transport"
)

func openUDP(local, remote transport.Addr) (*Datagram, error) {
	var l, r *net.UDPAddr
	network := "udp4"
	for _, a := range []transport.Addr{local, remote} {
		if ap, err := transport.AddrPort(a); err == nil && ap.Addr().Is6() {
			network = "udp6"
		}
	}
	if a, err := transport.ToNetAddr(network, local); err == nil {
		l = a.(*net.UDPAddr)
	}
	var c *net.UDPConn
	var err error
	if remote == nil {
		c, err = net.ListenUDP(network, l)
	} else {
		var a net.Addr
		if a, err = transport.ToNetAddr(network, remote); err != nil {
			return nil, err
		}
		r = a.(*net.UDPAddr)
		c, err = net.DialUDP(network, l, r)
	}
	if err != nil {
		return nil, transport.PosixError(err)
	}
	return newDatagram(&datagramSocket{c}, transport.FromNetAddr(c.LocalAddr()), remote), nil
}

func openUnixgram(transport.Addr, transport.Addr) (*Datagram, error) {
	return nil, fmt.Errorf("UNIX datagram sockets: %w", errors.ErrUnsupported)
}

func adoptDatagram(int) (*Datagram, error) { return nil, errors.ErrUnsupported }
