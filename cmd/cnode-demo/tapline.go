package main

import (
	"bytes"
	"io"
	"net"
	"sync"

	"github.com/cnode-go/cnode/transport"
)

// A tappedLine carries one connection to its destination, as a cable or a router does, and records
// what is sent there.
type tappedLine struct {
	addr transport.Addr // where to connect in place of the other end
	l    net.Listener
	to   string
	done chan struct{}

	mu    sync.Mutex
	ends  []net.Conn
	over  bool
	heard bytes.Buffer // what has gone to the other end
}

// tapLine lays a line to an address.
func tapLine(to transport.Addr) (*tappedLine, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tappedLine{addr: transport.FromNetAddr(l.Addr()), l: l, to: to.String(), done: make(chan struct{})}
	go t.run()
	return t, nil
}

// run carries the connection until it ends; an error at one end appears as the end of the stream at
// the other.
func (t *tappedLine) run() {
	defer close(t.done)
	from, err := t.l.Accept()
	if err != nil || !t.keep(from) {
		return
	}
	defer from.Close()
	to, err := net.Dial("tcp", t.to)
	if err != nil || !t.keep(to) {
		return
	}
	back := make(chan struct{})
	go func() {
		defer close(back)
		// not by splice(2), whose pipes package net keeps open
		_, _ = io.Copy(struct{ io.Writer }{from}, to)
		_ = from.Close()
	}()
	_, _ = io.Copy(to, io.TeeReader(from, t))
	_ = to.Close()
	<-back
}

// keep registers c to be closed by close; false: close was called already, and c is closed.
func (t *tappedLine) keep(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		_ = c.Close()
		return false
	}
	t.ends = append(t.ends, c)
	return true
}

// Write records what passes.
func (t *tappedLine) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.heard.Write(p)
}

// close cuts the line and gives what was recorded.
func (t *tappedLine) close() []byte {
	t.mu.Lock()
	t.over = true
	_ = t.l.Close()
	for _, c := range t.ends {
		_ = c.Close()
	}
	t.mu.Unlock()
	<-t.done
	return t.heard.Bytes()
}
