package handoff

import (
	"net"

	"github.com/cnode-go/cnode/transport"
)

// An insider is a Conn for the carriers in packages below this one, which get it from SyscallConn
// by a type assertion: see package inside. So what they need beside the methods of a Conn is no
// part of its API, as net and os share a poller's descriptor.
type insider Conn

// Control, Read and Write are those of syscall.RawConn.
func (in *insider) Control(f func(fd uintptr)) error    { return in.raw.Control(f) }
func (in *insider) Read(f func(fd uintptr) bool) error  { return in.raw.Read(f) }
func (in *insider) Write(f func(fd uintptr) bool) error { return in.raw.Write(f) }

// Borrow makes a zero Conn one of a socket that stays with package net.
func (in *insider) Borrow(conn *net.UnixConn) error { return (*Conn)(in).borrow(conn) }

// Own takes the socket from package net.
func (in *insider) Own() { (*Conn)(in).own() }

// TellEmpty makes empty packets of a connection differ from its end, if the system can.
func (in *insider) TellEmpty() error { return (*Conn)(in).tellEmpty() }

// TryParts is TrySend of head and p as one message.
func (in *insider) TryParts(head, p []byte, fds []int) (n int, err error) {
	return (*Conn)(in).tryParts(head, p, fds)
}

// CloseWrite ends the sending direction.
func (in *insider) CloseWrite() error { return (*Conn)(in).closeWrite() }

// Kind is the type of the socket.
func (in *insider) Kind() int { return in.kind }

// Peer is the address that the socket is connected to; nil: none.
func (in *insider) Peer() transport.Addr { return in.peer }

// Distrust marks an empty set as one of descriptors that a stranger sends: neither Close nor File
// waits for what he has made.
func (in *insider) Distrust(set *FDSet) { set.wary = true }
