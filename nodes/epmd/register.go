package epmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// Registered is a name held at a port mapper. It lasts as long as its connection: until Close, or
// until the port mapper goes away, which Done tells. Methods may be called concurrently.
type Registered struct {
	// Creation tells this incarnation of the name from others; identifiers of the node carry it.
	// Port mappers count it in 32 bits; for registrations with High below 6, and in old port
	// mappers, it is in 1..3.
	Creation uint32

	reg  Registration
	addr string
	conn net.Conn
	done chan struct{}

	mu     sync.Mutex
	closed bool
	frozen bool
	parked chan struct{} // takes a token when the goroutine that watches has ended for a freeze
	err    error
}

// Register tells the port mapper at c.Addr about a node and keeps the connection open. It blocks
// until the answer is there, ctx ends or Timeout passes; neither matters after that. The caller
// must Close the result.
//
// The errors to act on are ErrNoPortMapper, ErrNameTaken, and ErrNoAnswer, since port mappers
// accept registrations only from their own machine. ErrInvalid comes before anything is sent. See
// erl_dist_protocol, ALIVE2_REQ; ei_publish.
func (c *Client) Register(ctx context.Context, reg Registration) (*Registered, error) {
	reg = reg.withDefaults()
	reg.Extra = append([]byte(nil), reg.Extra...)
	q := request{tag: tagAlive2Req, reg: reg}
	if err := reg.check(); err != nil {
		return nil, c.wrap(q, "", err)
	}
	var a aliveAnswer
	conn, err := c.exchange(ctx, "", q, func(conn net.Conn) error {
		err := readAnswer(conn, 6, func(b []byte) (n int, err error) {
			a, n, err = parseAliveAnswer(b)
			return n, err
		})
		switch {
		case err != nil:
			return err
		case a.result != 0:
			return fmt.Errorf("%w (result %d)", ErrNameTaken, a.result)
		case a.creation == 0:
			return wrong("creation 0")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r := c.registered(conn, reg, a.creation)
	go r.watch()
	return r, nil
}

// registered makes a Registered whose connection is not watched yet.
func (c *Client) registered(conn net.Conn, reg Registration, creation uint32) *Registered {
	r := &Registered{Creation: creation, reg: reg, conn: conn, done: make(chan struct{}), parked: make(chan struct{}, 1)}
	r.addr, _ = c.addr("") // it was valid a moment ago
	return r
}

// watch waits for the connection's end. A port mapper has nothing to say on it.
func (r *Registered) watch() {
	var one [1]byte
	_, err := r.conn.Read(one[:])
	if errors.Is(err, os.ErrDeadlineExceeded) && r.park() {
		return
	}
	if err == nil {
		err = wrong("data on the connection of a registration")
	}
	_ = r.conn.Close() // lost or closed already
	r.mu.Lock()
	if r.closed {
		err = net.ErrClosed
	} else {
		err = fmt.Errorf("%w: %w", ErrLost, err)
	}
	r.err = &Error{Op: "register", Addr: r.addr, Name: r.reg.Name, Err: err}
	r.mu.Unlock()
	close(r.done)
}

// Registration gives what was registered, defaults filled in.
func (r *Registered) Registration() Registration {
	reg := r.reg
	reg.Extra = append([]byte(nil), reg.Extra...)
	return reg
}

// Done is closed when the name is no longer held: after Close, or when the connection to the port
// mapper is lost.
func (r *Registered) Done() <-chan struct{} { return r.done }

// Err is nil until Done is closed; then it is an *Error: ErrLost with what happened, or
// net.ErrClosed after Close.
func (r *Registered) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Close gives the name up by closing the connection. When it returns the port mapper has seen that,
// and the name is free; but Close waits no longer than 100 ms for that. It may be called more than
// once; the error is always nil.
func (r *Registered) Close() error {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.mu.Unlock()
	if first {
		r.part()
	}
	<-r.done
	return nil
}

// farewell is how long a port mapper may take to see that a name is given up.
const farewell = 100 * time.Millisecond

// part closes the connection, once the port mapper has closed its side: otherwise OTP's epmd may
// read the next registration first, and refuse the name.
func (r *Registered) part() {
	if half, ok := r.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		limit := time.NewTimer(farewell)
		defer limit.Stop()
		select {
		case <-r.done: // watch has read the end
		case <-limit.C:
		}
	}
	_ = r.conn.Close() // the port mapper sees the end of the stream in any case
}
