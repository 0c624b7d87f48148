package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A pairing is one of our nodes with its connection to one of our peers. It measures in place of
// the Erlang node, and does what bench_driver.erl does, so that two of our nodes are measured as
// two BEAMs are.
type pairing struct {
	arena *arena
	peer  string
	node  *nodes.Node
	conn  *nodes.Conn
	msg   nodes.Message
	dials int // for the names of nodes that connect
}

// startPair starts ours, and a node in this process that measures it.
func startPair(ctx context.Context, a *arena, node string) (*peer, error) {
	p, err := startOurs(ctx, a, node)
	if err != nil {
		return nil, err
	}
	m := &pairing{arena: a, peer: node}
	if m.node, err = a.member("with-" + node); err == nil {
		m.conn, err = m.node.Connect(ctx, node)
	}
	ended := p.close
	p.close = func() {
		if m.node != nil {
			_ = m.node.Close()
		}
		ended()
	}
	if err != nil {
		p.close()
		return nil, err
	}
	p.pairing, p.dial = m, nil
	return p, nil
}

// renew closes the connection and makes another one.
func (m *pairing) renew(ctx context.Context) (err error) {
	if err = m.conn.Close(); err == nil {
		m.conn, err = m.node.Connect(ctx, m.peer)
	}
	return err
}

// check makes sure that every byte comes back.
func (m *pairing) check(ctx context.Context, size int) error {
	payload := payload(size)
	if err := m.ask(ctx, "echo", ei.Binary(payload)); err != nil {
		return err
	}
	got, err := m.answer(ctx)
	if err == nil && !bytes.Equal(got, payload) {
		err = &failure{fmt.Sprintf("%d bytes came back as %d others", size, len(got))}
	}
	return err
}

// run takes one measurement of n messages.
func (m *pairing) run(ctx context.Context, name string, size, n int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, cellLimit+4*m.arena.o.cell)
	defer cancel()
	payload := ei.Binary(payload(size))
	begun := time.Now()
	var err error
	switch name {
	case roundTrip:
		err = m.roundTrips(ctx, payload, n)
	case out:
		if err = m.ask(ctx, "source", ei.Int(n), payload); err == nil {
			err = m.collect(ctx, size, n)
		}
	case in:
		err = m.in(ctx, payload, n)
	}
	return time.Since(begun), err
}

func (m *pairing) roundTrips(ctx context.Context, payload ei.Binary, n int) error {
	question, err := m.question("echo", payload)
	for i := 0; err == nil && i < n; i++ {
		if err = m.conn.SendNameRaw(ctx, "peer", question); err == nil {
			err = m.collect(ctx, len(payload), 1)
		}
	}
	return err
}

func (m *pairing) in(ctx context.Context, payload ei.Binary, n int) error {
	one, err := m.question("sink", ei.Atom("false"), payload)
	for i := 1; err == nil && i < n; i++ {
		err = m.conn.SendNameRaw(ctx, "peer", one)
	}
	if err == nil {
		err = m.ask(ctx, "sink", ei.Atom("true"), payload)
	}
	if err != nil {
		return err
	}
	c, err := m.receive(ctx)
	if err != nil {
		return err
	}
	if arity, err := c.Tuple(); err != nil || arity != 2 || !c.AtomIs("count") {
		return &failure{"not the number of what came"}
	}
	if count, err := c.Int(); err != nil || int(count) != n {
		return &failure{fmt.Sprintf("%d of %d came", count, n)}
	}
	return nil
}

func (m *pairing) collect(ctx context.Context, size, n int) error {
	for range n {
		got, err := m.answer(ctx)
		if err != nil {
			return err
		}
		if len(got) != size {
			return &failure{fmt.Sprintf("%d bytes, and not %d", len(got), size)}
		}
	}
	return nil
}

// connect connects and closes n times, each time as another node, since the peer may not have
// noticed yet that the last one has ended.
func (m *pairing) connect(ctx context.Context, n int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	begun := time.Now()
	for range n {
		m.dials++
		node, err := m.arena.member(fmt.Sprintf("dial%d-%s", m.dials, m.peer))
		if err != nil {
			return 0, err
		}
		_, err = node.Connect(ctx, m.peer)
		if closed := node.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return 0, err
		}
	}
	return time.Since(begun), nil
}

// question is a message to the peer: what, this process, and the rest.
func (m *pairing) question(what ei.Atom, rest ...ei.Term) (ei.Raw, error) {
	return ei.AppendTerm(nil, append(ei.Tuple{what, m.conn.Self()}, rest...))
}

func (m *pairing) ask(ctx context.Context, what ei.Atom, rest ...ei.Term) error {
	question, err := m.question(what, rest...)
	if err != nil {
		return err
	}
	return m.conn.SendNameRaw(ctx, "peer", question)
}

// answer receives a binary, which is valid until the next one.
func (m *pairing) answer(ctx context.Context) ([]byte, error) {
	c, err := m.receive(ctx)
	if err != nil {
		return nil, err
	}
	return c.Binary()
}

func (m *pairing) receive(ctx context.Context) (*ei.Cursor, error) {
	for {
		if err := m.conn.ReceiveInto(ctx, &m.msg); err != nil {
			return nil, err
		}
		if m.msg.Op == dist.OpSend {
			c := ei.NewCursor(m.msg.Payload)
			return &c, nil
		}
	}
}

func payload(size int) []byte { return bytes.Repeat([]byte{'x'}, size) }

// measuring gives the id of the process that measures a peer.
func (a *arena) measuring(p *peer) int {
	if p.pairing != nil {
		return os.Getpid()
	}
	return a.driver.Pid()
}
