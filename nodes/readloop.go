package nodes

import (
	"context"
	"errors"

	"github.com/cnode-go/cnode/nodes/dist"
)

// attach tells of a connection, and makes the upper level receive from it, once it has started.
func (n *Node) attach(c *Conn) {
	n.tellUp(c)
	if n.started.Load() {
		c.running.Do(func() { go c.run() }) // which the end of the connection waits for
	}
}

// run receives until the connection ends, and gives each message to the process that it is for. One goroutine does it in the order of the
// wire, so that signals from one sender stay in order.
func (c *Conn) run() {
	select {
	case c.rd.busy <- struct{}{}:
	case <-c.done:
		return
	}
	c.read()
}

// read is run for who holds the reader's token. Another goroutine goes on when a Handler has ended this one.
func (c *Conn) read() {
	over := false
	defer func() {
		if over {
			<-c.rd.busy
		} else {
			go c.read()
		}
	}()
	for {
		switch m, err := c.next(); {
		case err == nil:
			c.n.route(c, m)
			c.s.Yield() // a Handler, too, may have given it to another goroutine
		case err == errHalted:
			if c.sitOut(); c.Err() != nil { // what is unread is another process's, or too late
				over = true
				return
			}
		case errors.Is(err, dist.ErrUnknownOp):
			c.complain(faultOp, "control message skipped", err)
		default:
			over = true
			return
		}
	}
}

// next is what has been read and not dealt with (before Start, or as the reader halted), or else the next message.
func (c *Conn) next() (*Message, error) {
	if c.rd.unread.len() > 0 {
		if c.rd.halt.IsShut() {
			return nil, errHalted
		}
		return c.rd.unread.take(), nil
	}
	m := c.n.buffers.message()
	m.pool = &c.n.buffers
	return m, c.receive(context.Background(), m)
}
