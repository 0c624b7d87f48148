package nodes

import (
	"context"
	"errors"
)

// A passing is the wait of a connection's reader for what it needs to pass messages on. It ends
// when the reader is to halt, or with the connection.
type passing struct {
	ctx context.Context
	end context.CancelFunc
}

// pass is the context of the passing in progress, or of a new one. Only the reader calls it.
func (c *Conn) pass() context.Context {
	p := c.rd.passing.Load()
	if p == nil || p.ctx.Err() != nil {
		p = new(passing)
		p.ctx, p.end = context.WithCancel(c.n.ctx)
		c.rd.passing.Store(p)
		if c.rd.stopped.IsShut() || c.Err() != nil { // endPassing may have come before the Store
			p.end()
		}
	}
	return p.ctx
}

// passed turns the error that a wait with pass has ended with into the reader's: errReaderStopped,
// if it is to halt.
func (c *Conn) passed(err error) error {
	if errors.Is(err, context.Canceled) && c.Err() == nil && c.n.ctx.Err() == nil {
		return errReaderStopped
	}
	return err
}

func (c *Conn) endPassing() {
	if p := c.rd.passing.Load(); p != nil {
		p.end()
	}
}

// park keeps a message that could not be passed on before the reader halts. It is the first that
// the reader deals with when it goes on, here or in another process.
func (c *Conn) park(m *Message) { c.rd.unread.putBack(m) }
