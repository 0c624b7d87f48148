// Package pair runs two nodes in one program, which talk to each other in memory.
package pair

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cnode-go/cnode/docs/site/playground/capture"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

const alice, bob = "alice@tab", "bob@tab"

// Run starts two nodes, has the first one call, link to and monitor processes of the second one,
// and ends both. The request of the call is a term in Erlang's text. Each event is given as it
// happens, by one goroutine at a time.
func Run(ctx context.Context, request string, give func(capture.Event)) (err error) {
	asked, err := ei.Parse(request)
	if err != nil {
		return fmt.Errorf("the request: %w", err)
	}
	var mu sync.Mutex // the capture gives on the nodes' goroutines
	one := give
	give = func(e capture.Event) {
		mu.Lock()
		defer mu.Unlock()
		one(e)
	}
	file := virtual.NewCapture(capture.NewReader(give))
	defer func() { err = errors.Join(err, file.Close()) }()
	memory := transport.NewMemory()
	where := nodes.Static{alice: {Addr: transport.MemoryAddr(alice)}, bob: {Addr: transport.MemoryAddr(bob)}}
	start := func(name string, t transport.Transport) (*nodes.Node, error) {
		n, err := nodes.New(nodes.Config{Name: name, Cookie: "playground", Transport: t, Listen: where[name].Addr, Resolver: where})
		if err != nil {
			return nil, err
		}
		return n, n.Start(ctx)
	}
	b, err := start(bob, memory)
	if err != nil {
		return err
	}
	defer b.Close()
	a, err := start(alice, virtual.Trace(memory, virtual.TraceOptions{Capture: file})) // who connects sees both ways
	if err != nil {
		return err
	}
	defer a.Close()
	s := scene{ctx: ctx, a: a, b: b, give: give, flush: file.Flush}
	return errors.Join(s.play("call", func() error { return s.call(asked) }), s.play("link", s.link), s.play("monitor", s.monitor),
		s.play("end", a.Close))
}

type scene struct {
	ctx   context.Context
	a, b  *nodes.Node
	give  func(capture.Event)
	flush func() error
}

// play gives what has been said in a step before the next one begins.
func (s *scene) play(name string, step func() error) error {
	if err := errors.Join(step(), s.flush()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (s *scene) note(format string, args ...any) {
	s.give(capture.Event{Kind: capture.KindNote, Text: fmt.Sprintf(format, args...)})
}

// said tells what alice has of a step, after what went over the connection for it.
func (s *scene) said(format string, args ...any) error {
	err := s.flush()
	s.note(format, args...)
	return err
}

func (s *scene) call(request ei.Term) error {
	_, err := s.b.Serve("shop", nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) {
		return ei.Tagged("ok", c.Request), nil
	}}, nil)
	if err != nil {
		return err
	}
	s.note("gen_server:call({shop,'%s'}, %v)", bob, request)
	reply, err := s.a.CallName(s.ctx, bob, "shop", request)
	if err != nil {
		return err
	}
	return s.said("the call returns %v", reply)
}

func (s *scene) link() error {
	worker, err := s.b.NewMailbox(nil)
	if err != nil {
		return err
	}
	defer worker.Close()
	box, err := s.a.NewMailbox(&nodes.MailboxOptions{TrapExit: true})
	if err != nil {
		return err
	}
	defer box.Close()
	s.note("link to a process of %s, then exit(Pid, stop)", bob)
	if err := errors.Join(box.Link(s.ctx, worker.Pid()), box.SendExit(s.ctx, worker.Pid(), ei.Atom("stop"))); err != nil {
		return err
	}
	return s.received(box)
}

func (s *scene) monitor() error {
	clock, err := s.b.Serve("clock", nodes.Server{On: map[string]nodes.Func{
		"stop": nodes.FuncOf(func(ctx context.Context) { nodes.MailboxOf(ctx).Exit(ei.Atom("normal")) }),
	}}, nil)
	if err != nil {
		return err
	}
	defer clock.Close()
	box, err := s.a.NewMailbox(nil)
	if err != nil {
		return err
	}
	defer box.Close()
	s.note("monitor clock of %s, then send it the message stop", bob)
	if _, err := box.MonitorName(s.ctx, bob, "clock"); err != nil {
		return err
	}
	if err := box.SendName(s.ctx, bob, "clock", ei.Atom("stop")); err != nil {
		return err
	}
	return s.received(box)
}

// received waits for the signal that a step has led to.
func (s *scene) received(box *nodes.Mailbox) error {
	m, err := box.Receive(s.ctx)
	if err != nil {
		return err
	}
	reason, err := m.Reason.Decode()
	if err != nil {
		return err
	}
	return s.said("%s receives %v with the reason %v", alice, m.Op, reason)
}
