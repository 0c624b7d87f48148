package transport

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport/internal/patience"
)

// A passage accepts connections, on a goroutine of its own, from a listener whose Accept only Close
// can end, such as that of package tls.
type passage struct {
	l      net.Listener
	come   chan passed
	kick   chan struct{} // ends an accept
	over   chan struct{} // closed by close
	begins sync.Once
	closes sync.Once
}

// A passed is what an Accept has returned.
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

// next makes one Accept. A panic of Accept becomes an error; so does an end of the goroutine, after
// which another goroutine goes on.
func (p *passage) next() (a passed) {
	err := errExited // stays so if Accept ends the goroutine
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

// give hands over what an Accept has returned; false if the passage is closed.
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
	// the goroutine needs an instant to find a connection that is ready
	fires, stop := patience.Expiry(max(tmo, time.Millisecond))
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
