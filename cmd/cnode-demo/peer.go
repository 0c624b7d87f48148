package main

import (
	"context"
	"errors"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// A peer is the registered process with which other programs measure and test this node. Terms that it sends back are never decoded.
//
//	{echo, From, T}          sends T to From
//	{sink, From, Last, Bin}  counts; when Last is true sends {count, N} to From and starts again
//	{source, From, N, B}     sends B to From N times
//	gen_server:call(peer, T) returns {ok, T}
type peer struct {
	node   *nodes.Node
	counts map[ei.Pid]int64 // of sink, by From
}

// startPeer registers the process.
func startPeer(n *nodes.Node) (*peer, error) {
	p := &peer{node: n, counts: map[ei.Pid]int64{}}
	_, err := n.Serve("peer", nodes.Server{Call: p.call, Info: p.info}, nil)
	return p, err
}

func (p *peer) wait() {}

func (p *peer) call(_ context.Context, c *nodes.Call) (any, error) {
	return ei.Tuple{ei.Atom("ok"), c.Request}, nil
}

func (p *peer) info(ctx context.Context, self *nodes.Mailbox, m *nodes.Message) {
	r, err := parseRequest(m.Payload)
	if err != nil {
		return // as a process of Erlang that does not match on it
	}
	send := func(term ei.Raw) error { return self.Send(ctx, r.from, term) }
	if c := nodes.ConnOf(ctx); c != nil && string(r.from.Node) == c.Name() {
		send = func(term ei.Raw) error { return c.SendRaw(ctx, r.from, term) }
	}
	switch r.verb {
	case "echo":
		_ = send(r.term)
	case "sink":
		p.counts[r.from]++
		if r.last {
			b := ei.AppendTupleHeader(nil, 2)
			b, _ = ei.AppendAtom(b, "count")
			_ = send(ei.AppendInt(b, p.counts[r.from]))
			delete(p.counts, r.from)
		}
	case "source":
		for range r.times {
			if send(r.term) != nil {
				return
			}
		}
	}
}

// A request is what a client of the peer asks for. term aliases the message.
type request struct {
	verb  ei.Atom
	from  ei.Pid
	last  bool
	times int64
	term  ei.Raw
}

var errRequest = errors.New("not a request")

func parseRequest(payload ei.Raw) (r request, err error) {
	c := ei.NewCursor(payload)
	arity, err := c.Tuple()
	if err != nil {
		return r, err
	}
	for _, v := range []struct {
		verb  ei.Atom
		arity int
	}{{"echo", 3}, {"sink", 4}, {"source", 4}} {
		if arity == v.arity && c.AtomIs(v.verb) {
			r.verb = v.verb
			break
		}
	}
	if r.verb == "" {
		return r, errRequest
	}
	if r.from, err = c.Pid(); err != nil {
		return r, err
	}
	switch r.verb {
	case "sink":
		if r.last, err = c.Bool(); err != nil {
			return r, err
		}
	case "source":
		if r.times, err = c.Int(); err != nil {
			return r, err
		}
	}
	r.term, err = c.Raw()
	return r, err
}
