package tour

import (
	"bytes"
	"io"
	"net"

	"github.com/cnode-go/cnode/transport"
)

// A tappedLine carries one connection to its destination, as a cable or a router does, and records
// what is sent there.
type tappedLine struct {
	addr  transport.Addr // where to connect in place of the other end
	l     net.Listener
	done  chan struct{}
	heard bytes.Buffer // what has gone to the other end; to be read after done
}

// tapLine lays a line to an address.
func tapLine(to transport.Addr) (*tappedLine, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tappedLine{addr: transport.FromNetAddr(l.Addr()), l: l, done: make(chan struct{})}
	go t.run(to.String())
	return t, nil
}

// run carries the connection until it ends; an error at one end appears as the end of the stream at
// the other.
func (t *tappedLine) run(at string) {
	defer close(t.done)
	from, err := t.l.Accept()
	if err != nil {
		return
	}
	defer from.Close()
	to, err := net.Dial("tcp", at)
	if err != nil {
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		// not by splice(2), whose pipes package net keeps open
		_, _ = io.Copy(struct{ io.Writer }{from}, to)
		_ = from.Close()
	}()
	_, _ = io.Copy(to, io.TeeReader(from, &t.heard))
	_ = to.Close()
	<-back
}

// close gives what was recorded, once one of the ends has closed the connection.
func (t *tappedLine) close() []byte {
	_ = t.l.Close()
	<-t.done
	return t.heard.Bytes()
}
