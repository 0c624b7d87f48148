package transport

import (
	"fmt"
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
	for p.give(p.next()) {
	}
}

// next is an Accept, of which a panic is an error. Behind one that ends its goroutine another one goes on.
func (p *passage) next() (a passed) {
	err := errExited // it stays where Accept does not come back
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
		if err != nil {
			a = passed{err: &CallbackError{"Accept", fmt.Errorf("%w: %w", ErrPanic, err)}}
		}
		if err == errExited && p.give(a) {
			go p.run()
		}
	}()
	a.c, a.err = p.l.Accept()
	err = nil
	return a
}

// give hands over what an Accept has given; false when nobody wants it any more.
func (p *passage) give(a passed) bool {
	select {
	case p.come <- a:
		return true
	case <-p.over:
		if a.c != nil {
			_ = a.c.Close() // nobody has seen it
		}
		return false
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
