package nodes

import (
	"context"
	"errors"

	"github.com/cnode-go/cnode/nodes/dist"
)

// attach reports a connection to mailboxes and, if the upper level has started, makes it receive
// from the connection.
func (n *Node) attach(c *Conn) {
	n.tellUp(c)
	if n.started.Load() {
		c.running.Do(func() { go c.run() }) // the end of the connection waits for run
	}
}

// run receives until the connection ends, and gives each message to the process that it is for. One
// goroutine does this in the order of the wire, so that signals from one sender stay in order.
func (c *Conn) run() {
	select {
	case c.rd.busy <- struct{}{}:
	case <-c.done:
		return
	}
	c.read()
}

// read is run for the holder of the reader's token.
func (c *Conn) read() {
	defer c.giveReader()
	for {
		switch m, err := c.next(); {
		case err == nil:
			c.n.route(c, m)
			c.s.Yield() // m may have gone to another goroutine
		case err == errReaderStopped:
			// what is unread is another process's, or too late
			if c.giveReaderToFreeze(); c.Err() != nil {
				return
			}
		case errors.Is(err, dist.ErrUnknownOp):
			c.complain(faultOp, "control message skipped", err)
		default:
			return
		}
	}
}

// next returns what has been read and not dealt with (before Start, or when the reader halted), or
// else the next message.
func (c *Conn) next() (*Message, error) {
	if c.rd.unread.len() > 0 {
		if c.rd.stopped.IsShut() {
			return nil, errReaderStopped
		}
		return c.rd.unread.take(), nil
	}
	m := c.n.buffers.message()
	m.pool = &c.n.buffers
	return m, c.receive(context.Background(), m)
}
