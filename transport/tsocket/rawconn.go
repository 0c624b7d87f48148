package tsocket

import "syscall"

// A rawConn gives others access to a socket's descriptor. Once that is closed, its methods return
// the socket's error.
type rawConn struct {
	of  *Datagram
	raw syscall.RawConn
}

func (c rawConn) Control(f func(fd uintptr)) error    { return reason(c.of, c.raw.Control(f)) }
func (c rawConn) Read(f func(fd uintptr) bool) error  { return reason(c.of, c.raw.Read(f)) }
func (c rawConn) Write(f func(fd uintptr) bool) error { return reason(c.of, c.raw.Write(f)) }
