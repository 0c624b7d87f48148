//go:build unix

package main

import (
	"log"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A counted socket is a TCP descriptor, and the number of bytes that it has read.
type counted struct {
	fd    int
	bytes atomic.Int64
}

func counting() transport.Callbacks[*counted] {
	tcp := transport.TCPCallbacks()
	return transport.Callbacks[*counted]{
		Read: func(c *counted, p []byte, tmo time.Duration) (int, error) {
			n, err := tcp.Read(c.fd, p, tmo)
			c.bytes.Add(int64(n))
			return n, err
		},
		Write: func(c *counted, p []byte, tmo time.Duration) (int, error) { return tcp.Write(c.fd, p, tmo) },

		// Socket, Close, Listen, Accept and Connect in the same way, and two that describe the socket
		Socket: func(setup any, to transport.Addr) (*counted, error) {
			fd, err := tcp.Socket(setup, to)
			return &counted{fd: fd}, err
		},
		Close: func(c *counted) error {
			log.Printf("%d bytes read", c.bytes.Load())
			return tcp.Close(c.fd)
		},
		Listen: func(c *counted, at transport.Addr, backlog int) (transport.Addr, error) {
			return tcp.Listen(c.fd, at, backlog)
		},
		Accept: func(c *counted, tmo time.Duration) (*counted, transport.Addr, error) {
			fd, from, err := tcp.Accept(c.fd, tmo)
			return &counted{fd: fd}, from, err
		},
		Connect: func(c *counted, to transport.Addr, tmo time.Duration) error { return tcp.Connect(c.fd, to, tmo) },

		HandshakePacketHeaderSize: func(*counted) (int, error) { return 2, nil },
		GetFD:                     func(c *counted) (int, error) { return c.fd, nil },
	}
}
