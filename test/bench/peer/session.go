package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// What a message to `peer` begins with.
const (
	atomEcho       ei.Atom = "echo"
	atomSink       ei.Atom = "sink"
	atomSource     ei.Atom = "source"
	atomGoroutines ei.Atom = "goroutines"
)

// atomLimit bounds the atoms that a session remembers: the node names in pids.
const atomLimit = 64

// A session serves one connection, on one goroutine, with buffers that are used again.
type session struct {
	conn  *nodes.Conn
	cork  *cork // nil: what is sent leaves at once
	msg   nodes.Message
	count int64 // messages sunk since the last report
	out   []byte
}

// serve answers messages until the connection ends. Messages that it does not know are dropped.
func (s *session) serve(ctx context.Context) error {
	atoms := ei.NewAtomTable(atomLimit)
	for {
		if err := s.conn.ReceiveInto(ctx, &s.msg); err != nil {
			return err
		}
		if s.msg.Op != dist.OpSend && s.msg.Op != dist.OpRegSend {
			continue
		}
		c := ei.NewCursor(s.msg.Payload)
		c.Atoms = atoms
		if err := s.answer(ctx, &c); err != nil {
			return fmt.Errorf("%v: %w", s.msg.Op, err)
		}
	}
}

func (s *session) answer(ctx context.Context, c *ei.Cursor) error {
	arity, err := c.Tuple()
	if err != nil {
		return nil
	}
	switch {
	case arity == 3 && c.AtomIs(atomEcho):
		return s.echo(ctx, c)
	case arity == 4 && c.AtomIs(atomSink):
		return s.sink(ctx, c)
	case arity == 4 && c.AtomIs(atomSource):
		return s.source(ctx, c)
	case arity == 2 && c.AtomIs(atomGoroutines):
		from, err := c.Pid()
		if err != nil {
			return err
		}
		return s.report(ctx, from, atomGoroutines, int64(runtime.NumGoroutine()))
	}
	return nil
}

// echo answers {echo, From, T}; c is after the atom.
func (s *session) echo(ctx context.Context, c *ei.Cursor) error {
	from, err := c.Pid()
	if err != nil {
		return err
	}
	term, err := c.Raw()
	if err != nil {
		return err
	}
	return s.conn.SendRaw(ctx, from, term)
}

// sink answers {sink, From, Last, Bin}; c is after the atom.
func (s *session) sink(ctx context.Context, c *ei.Cursor) error {
	from, err := c.Pid()
	if err != nil {
		return err
	}
	last, err := c.Bool()
	if err != nil {
		return err
	}
	s.count++
	if !last {
		return nil
	}
	n := s.count
	s.count = 0
	return s.report(ctx, from, "count", n)
}

// source answers {source, From, N, B}; c is after the atom.
func (s *session) source(ctx context.Context, c *ei.Cursor) error {
	from, err := c.Pid()
	if err != nil {
		return err
	}
	n, err := c.Int()
	if err != nil {
		return err
	}
	term, err := c.Raw()
	if err != nil {
		return err
	}
	s.cork.close()
	for range n {
		if err := s.conn.SendRaw(ctx, from, term); err != nil {
			return err
		}
	}
	return s.cork.open()
}

// report sends {what, N}.
func (s *session) report(ctx context.Context, to ei.Pid, what ei.Atom, n int64) error {
	b, err := ei.AppendAtom(ei.AppendTupleHeader(s.out[:0], 2), what)
	if err != nil {
		return err
	}
	s.out = ei.AppendInt(b, n)
	return s.conn.SendRaw(ctx, to, s.out)
}
