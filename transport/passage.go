package transport

import (
	"net"
	"os"
	"sync"
	"time"
)

// A passage is how connections come from a listener whose Accept nothing but Close ends, as that of package tls: a goroutine of its own
// accepts them.
type passage struct {
	l      net.Listener
	come   chan passed
	kick   chan struct{} // ends an accept
	over   chan struct{} // closed by close
	begins sync.Once
	closes sync.Once
}

// A passed is what an Accept has given.
type passed struct {
	c   net.Conn
	err error
}

func newPassage(l net.Listener) *passage {
	return &passage{l: l, come: make(chan passed), kick: make(chan struct{}, 1), over: make(chan struct{})}
}

func (p *passage) run() {
	for {
		var a passed
		a.c, a.err = p.l.Accept()
		select {
		case p.come <- a:
		case <-p.over:
			if a.err == nil {
				_ = a.c.Close() // nobody has seen it
			}
			return
		}
	}
}

func (p *passage) accept(tmo time.Duration) (net.Conn, error) {
	p.begins.Do(func() { go p.run() })
	fires, stop := expiry(max(tmo, time.Millisecond)) // to look takes the goroutine an instant
	defer stop()
	select {
	case a := <-p.come:
		return a.c, a.err
	case <-fires:
	case <-p.kick:
	case <-p.over:
		return nil, net.ErrClosed
	}
	return nil, os.ErrDeadlineExceeded
}

func (p *passage) interrupt() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *passage) close() error {
	p.closes.Do(func() { close(p.over) })
	return p.l.Close()
}
