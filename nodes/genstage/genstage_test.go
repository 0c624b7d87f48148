package genstage_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/genstage"
	"github.com/cnode-go/cnode/nodes/nodestest"
)

const tick = time.Millisecond

// A stage is a process of the test's, which speaks to a producer or to consumers as it likes.
type stage struct {
	t    *testing.T
	b    *nodes.Mailbox
	from ei.Pid // of the message before
}

func newStage(t *testing.T, n *nodes.Node) *stage {
	t.Helper()
	b := cluster.Mailbox(t, n, nil)
	t.Cleanup(func() { b.Close() })
	return &stage{t: t, b: b}
}

// says sends {Kind, {Self, Tag}, What}, with What in Erlang's text.
func (s *stage) says(to ei.Pid, kind ei.Atom, tag ei.Term, what string) {
	s.t.Helper()
	require.NoError(s.t, s.b.Send(expect.Context(s.t), to, ei.Tuple{kind, ei.Tuple{s.b.Pid(), tag}, nodestest.Term(what)}))
}

func (s *stage) orders(to ei.Pid, tag ei.Term, what string) {
	s.t.Helper()
	s.says(to, "$gen_producer", tag, what)
}

// hears is the next message, of which it gives tag and content.
func (s *stage) hears() (tag ei.Term, what string) {
	s.t.Helper()
	m, err := s.b.Receive(expect.Context(s.t))
	require.NoError(s.t, err)
	if m.Op == dist.OpMonitorPExit {
		reason, err := m.Reason.Decode()
		require.NoError(s.t, err)
		return nil, "down " + reason.String()
	}
	term, err := m.Term()
	require.NoError(s.t, err)
	t := term.(ei.Tuple)
	s.from = t[1].(ei.Tuple)[0].(ei.Pid)
	return t[1].(ei.Tuple)[1], t[2].String()
}

func (s *stage) expects(tag ei.Term, what string) {
	s.t.Helper()
	gotTag, got := s.hears()
	require.Equal(s.t, what, got)
	require.Equal(s.t, tag, gotTag)
}

// consumer is who has sent the message before.
func (s *stage) consumer() ei.Pid { return s.from }

// A tap gives the integers from 0 on, as many as it is opened for.
type tap struct {
	mu    sync.Mutex
	next  int
	left  int
	end   error // what comes after them
	waits int   // for how many take waits; 0: it does not
	opens chan struct{}
}

func newTap() *tap { return &tap{opens: make(chan struct{}, 1)} }

func (p *tap) open(count int, end error) {
	p.mu.Lock()
	p.left += count
	p.end = end
	p.mu.Unlock()
	select {
	case p.opens <- struct{}{}:
	default:
	}
}

func (p *tap) take(ctx context.Context, demand int) (events []int, err error) {
	for {
		p.mu.Lock()
		for ; p.left > 0 && len(events) < demand; p.left-- {
			events = append(events, p.next)
			p.next++
		}
		if p.left == 0 {
			err = p.end
		}
		if p.waits = demand; len(events) > 0 || err != nil {
			p.waits = 0
		}
		p.mu.Unlock()
		if len(events) > 0 || err != nil {
			return events, err
		}
		select {
		case <-p.opens:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// produces starts a producer.
func produces(t *testing.T, n *nodes.Node, o *genstage.ProducerOptions, p *tap) *genstage.Producer {
	t.Helper()
	made, err := genstage.Produce(n, "", o, p.take)
	require.NoError(t, err)
	t.Cleanup(func() { made.Close() })
	return made
}

// hasTaken waits until a producer has taken what was sent to it before.
func hasTaken(t *testing.T, n *nodes.Node, p *genstage.Producer) int {
	t.Helper()
	count, err := nodes.CallAs[int](expect.Context(t), n, p.Pid(), ei.Atom("$estimate_buffered_count"))
	require.NoError(t, err)
	return count
}

// The consumer that has demanded most is served first, as by GenStage.DemandDispatcher.
func TestDemand(t *testing.T) {
	n, m := nodestest.Pair(t)
	source := newTap()
	p := produces(t, n, nil, source)
	a, b, c := newStage(t, m), newStage(t, m), newStage(t, m)
	for i, s := range []*stage{a, b, c} {
		s.orders(p.Pid(), ei.Int(i), "{subscribe, nil, [{max_demand, 10}]}")
	}
	require.NoError(t, a.b.Cast(expect.Context(t), p.Pid(), nodestest.Term("{'$demand', accumulate}")))
	a.orders(p.Pid(), ei.Int(0), "{ask, 2}")
	b.orders(p.Pid(), ei.Int(1), "{ask, 5}")
	c.orders(p.Pid(), ei.Int(2), "{ask, 3}")
	for _, s := range []*stage{a, b, c} { // from each, its orders come before its call
		_, err := s.b.Call(expect.Context(t), p.Pid(), ei.Atom("$demand"))
		require.NoError(t, err)
	}
	source.open(9, nil)
	require.NoError(t, a.b.Cast(expect.Context(t), p.Pid(), nodestest.Term("{'$demand', forward}")))
	b.expects(ei.Int(1), "[0,1,2,3,4]")
	c.expects(ei.Int(2), "[5,6,7]")
	a.expects(ei.Int(0), "[8]")
	require.Eventually(t, func() bool {
		source.mu.Lock()
		defer source.mu.Unlock()
		return source.waits == 1
	}, expect.Limit, tick, "for the other one demanded by a")
	// what a consumer that has gone has demanded is another one's
	a.orders(p.Pid(), ei.Int(0), "{cancel, enough}")
	a.expects(ei.Int(0), "{cancel,enough}")
	source.open(3, nil)
	require.Eventually(t, func() bool { return hasTaken(t, m, p) == 1 }, expect.Limit, tick) // of the one demanded by a
	c.orders(p.Pid(), ei.Int(2), "{ask, 5}")
	c.expects(ei.Int(2), "[9]")
	c.expects(ei.Int(2), "[10,11]")
}

// What GenStage answers to what is wrong, a producer does.
func TestRefusals(t *testing.T) {
	ctx := expect.Context(t)
	n, m := nodestest.Pair(t)
	p := produces(t, n, nil, newTap())
	s := newStage(t, m)
	s.orders(p.Pid(), ei.Atom("x"), "{ask, 3}")
	s.expects(ei.Atom("x"), "{cancel,unknown_subscription}")
	s.orders(p.Pid(), ei.Atom("x"), "{subscribe, nil, []}")
	s.orders(p.Pid(), ei.Atom("x"), "{subscribe, nil, []}")
	s.expects(ei.Atom("x"), "{cancel,duplicated_subscription}")
	s.orders(p.Pid(), ei.Atom("y"), "{subscribe, {x, better}, []}") // in the place of the other one
	s.expects(ei.Atom("x"), "{cancel,better}")
	s.orders(p.Pid(), ei.Atom("x"), "{ask, 3}")
	s.expects(ei.Atom("x"), "{cancel,unknown_subscription}")
	for _, wrong := range []string{
		"{ask, 0}", "{ask, -1}", "{ask, many}", "{ask, 99999999999999999999}", "ask", "{subscribe, x, []}", "{what, 1}",
	} {
		s.orders(p.Pid(), ei.Atom("y"), wrong)
	}
	require.NoError(t, s.b.Send(ctx, p.Pid(), ei.Atom("$begin")))
	for request, want := range map[string]string{
		"'$demand'": "forward", "'$estimate_buffered_count'": "0", "{'$subscribe', nil, x, []}": "{error,not_a_consumer}",
		"{'$info', x}": "ok", "what": "{error,{unknown_request,what}}",
	} {
		answer, err := s.b.Call(ctx, p.Pid(), nodestest.Term(request))
		require.NoError(t, err)
		require.Equal(t, want, answer.String())
	}
	require.Equal(t, []ei.Pid{s.b.Pid()}, p.Consumers())
	require.NoError(t, p.Cancel(s.b.Pid(), ei.Atom("bye")))
	s.expects(ei.Atom("y"), "{cancel,bye}")
	require.Empty(t, p.Consumers())
	require.ErrorIs(t, p.Cancel(s.b.Pid(), ei.Atom("bye")), nodes.ErrNoProc)
	require.Error(t, p.Cancel(s.b.Pid(), make(chan int)))

	p = produces(t, n, &genstage.ProducerOptions{Dispatcher: genstage.Broadcast}, newTap())
	s.orders(p.Pid(), ei.Int(1), "{subscribe, nil, [{selector, nil}]}")
	s.orders(p.Pid(), ei.Int(2), "{subscribe, nil, []}")
	s.expects(ei.Int(2), "{cancel,already_subscribed}")
	other := newStage(t, m)
	other.orders(p.Pid(), ei.Int(3), "{subscribe, nil, [{max_demand, 1}, {selector, some_fun}]}")
	_, why := other.hears()
	require.Contains(t, why, "bad_opts")
	require.Len(t, p.Consumers(), 1)

	_, err := genstage.Produce(n, "x", &genstage.ProducerOptions{Dispatcher: 7}, newTap().take)
	require.Error(t, err)
	_, err = genstage.Produce(n, "x", nil, newTap().take)
	require.NoError(t, err)
	_, err = genstage.Produce(n, "x", nil, newTap().take)
	require.ErrorIs(t, err, nodes.ErrNameTaken)
}

// Each consumer of a broadcast gets all, when the slowest has demanded it.
func TestBroadcast(t *testing.T) {
	n, m := nodestest.Pair(t)
	source := newTap()
	p := produces(t, n, &genstage.ProducerOptions{Dispatcher: genstage.Broadcast}, source)
	a, b := newStage(t, m), newStage(t, m)
	a.orders(p.Pid(), ei.Int(1), "{subscribe, nil, []}")
	b.orders(p.Pid(), ei.Int(1), "{cancel, x}") // which is a's: whoever knows it may
	a.expects(ei.Int(1), "{cancel,x}")
	a.orders(p.Pid(), ei.Int(1), "{subscribe, nil, []}")
	b.orders(p.Pid(), ei.Int(2), "{subscribe, nil, []}")
	require.Eventually(t, func() bool { return len(p.Consumers()) == 2 }, expect.Limit, tick)
	source.open(10, nil)
	a.orders(p.Pid(), ei.Int(1), "{ask, 6}")
	b.orders(p.Pid(), ei.Int(2), "{ask, 2}")
	a.expects(ei.Int(1), "[0,1]")
	b.expects(ei.Int(2), "[0,1]")
	b.b.Close() // the slowest one
	a.expects(ei.Int(1), "[2,3,4,5]")
}

// What a producer's function says ends the producer.
func TestProducerEnds(t *testing.T) {
	n, m := nodestest.Pair(t)
	bug := errors.New("a bug")
	for _, tt := range []struct {
		f    func(context.Context, int) ([]any, error)
		want string
		err  error
	}{
		{func(context.Context, int) ([]any, error) { return nil, io.EOF }, "normal", nil},
		{func(context.Context, int) ([]any, error) { return nil, bug }, `{go_error,<<"a bug">>}`, bug},
		{func(context.Context, int) ([]any, error) { return nil, &ei.ReasonError{Reason: ei.Atom("why")} }, "why", &ei.ReasonError{}},
		{func(context.Context, int) ([]any, error) { panic(bug) }, `{go_panic,<<"a bug">>}`, errors.New("the function panicked: a bug")},
		{func(context.Context, int) ([]any, error) { return []any{make(chan int)}, nil }, "", &ei.MappingError{}},
	} {
		p, err := genstage.Produce(n, "", nil, tt.f)
		require.NoError(t, err)
		require.NoError(t, p.Err())
		s := newStage(t, m)
		ref, err := s.b.Monitor(expect.Context(t), p.Pid())
		require.NoError(t, err)
		s.orders(p.Pid(), ref, "{subscribe, nil, []}")
		s.orders(p.Pid(), ref, "{ask, 1}")
		_, what := s.hears()
		require.Contains(t, what, "down "+tt.want)
		expect.Returns(t, p.Done())
		switch tt.err.(type) {
		case nil:
			require.NoError(t, p.Err())
		case *ei.ReasonError:
			require.ErrorAs(t, p.Err(), new(*ei.ReasonError))
		case *ei.MappingError:
			require.ErrorAs(t, p.Err(), new(*ei.MappingError))
		default:
			require.EqualError(t, p.Err(), tt.err.Error())
		}
	}
	// io.EOF waits until all is taken: what was more than demanded, too
	p, err := genstage.Produce(n, "", nil, func(context.Context, int) ([]int, error) { return []int{1, 2, 3}, io.EOF })
	require.NoError(t, err)
	s := newStage(t, m)
	s.orders(p.Pid(), ei.Int(1), "{subscribe, nil, []}")
	s.orders(p.Pid(), ei.Int(1), "{ask, 1}")
	s.expects(ei.Int(1), "[1]")
	require.Equal(t, 2, hasTaken(t, m, p))
	s.orders(p.Pid(), ei.Int(1), "{ask, 9}")
	s.expects(ei.Int(1), "[2,3]")
	expect.Returns(t, p.Done())
	require.NoError(t, p.Err())
}

// A consumer's options are checked as GenStage checks them.
func TestOptions(t *testing.T) {
	ctx := expect.Context(t)
	n, m := nodestest.Pair(t)
	take := func(context.Context, []int) error { return nil }
	for _, o := range []genstage.Options{
		{MaxDemand: -1}, {MaxDemand: 1 << 31}, {MaxDemand: 10, MinDemand: 10}, {MinDemand: -2}, {Cancel: 3},
		{Partition: make(chan int)}, {Limit: -1},
	} {
		_, err := genstage.SubscribeName(ctx, n, m.Name(), "x", &o, take)
		require.ErrorAs(t, err, new(*nodes.Error), "%+v", o)
	}
	_, err := genstage.SubscribeName(ctx, n, "nobody@test", "x", nil, take)
	require.ErrorIs(t, err, nodes.ErrNoConnection)

	s := newStage(t, m)
	sub, err := genstage.Subscribe(ctx, n, s.b.Pid(), &genstage.Options{MaxDemand: 7, Cancel: genstage.Transient, Partition: "east"}, take)
	require.NoError(t, err)
	tag, what := s.hears()
	require.Equal(t, `{subscribe,nil,[{max_demand,7},{min_demand,3},{cancel,transient},{partition,<<"east">>}]}`, what)
	s.expects(tag, "{ask,7}")
	s.says(s.consumer(), "$gen_consumer", ei.Atom("other"), "[1,2]")
	s.expects(ei.Atom("other"), "{cancel,unknown_subscription}")
	s.says(s.consumer(), "$gen_consumer", ei.Atom("other"), "{cancel, x}")
	s.says(s.consumer(), "$gen_consumer", tag, "what")
	answer, err := s.b.Call(ctx, s.consumer(), nodestest.Term("{'$subscribe', nil, x, []}"))
	require.NoError(t, err)
	require.Equal(t, "{error,not_a_consumer}", answer.String())
	s.says(s.consumer(), "$gen_consumer", tag, "{cancel, bug}")
	expect.Returns(t, sub.Done())
	var cancelled *genstage.CancelError
	require.ErrorAs(t, sub.Err(), &cancelled)
	require.Equal(t, ei.Atom("bug"), cancelled.Reason)
	require.NoError(t, sub.Cancel(ctx, ei.Atom("again")))
}

// Cancel waits for the producer's answer, and gives up with its context.
func TestCancel(t *testing.T) {
	ctx := expect.Context(t)
	n, m := nodestest.Pair(t)
	s := newStage(t, m)
	var got []int
	take := func(_ context.Context, events []int) error { got = append(got, events...); return nil }
	sub, err := genstage.Subscribe(ctx, n, s.b.Pid(), nil, take)
	require.NoError(t, err)
	tag, _ := s.hears()
	s.hears()
	result := make(chan error, 1)
	go func() { result <- sub.Cancel(ctx, ei.Atom("enough")) }()
	s.expects(tag, "{cancel,enough}")
	s.says(s.consumer(), "$gen_consumer", tag, "[1,2,3]")
	s.says(s.consumer(), "$gen_consumer", tag, "{cancel, enough}")
	require.NoError(t, expect.Returns(t, result))
	require.NoError(t, sub.Err())
	require.Equal(t, []int{1, 2, 3}, got)

	sub, err = genstage.Subscribe(ctx, n, s.b.Pid(), nil, take)
	require.NoError(t, err)
	over, cancel := context.WithCancel(ctx)
	go func() { result <- sub.Cancel(over, ei.Atom("enough")) }()
	for range 3 {
		s.hears()
	}
	cancel()
	require.ErrorIs(t, expect.Returns(t, result), context.Canceled)
	expect.Returns(t, sub.Done())
	require.NoError(t, sub.Err())
	require.Error(t, sub.Cancel(ctx, make(chan int)))
}

// Stages end with their node, which is no error.
func TestNodeEnds(t *testing.T) {
	ctx := expect.Context(t)
	n, m := nodestest.Pair(t)
	p := produces(t, m, nil, newTap())
	sub, err := genstage.Subscribe(ctx, n, p.Pid(), nil, func(context.Context, []int) error { return nil })
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(p.Consumers()) == 1 }, expect.Limit, tick)
	require.NoError(t, n.Close())
	expect.Returns(t, sub.Done())
	require.NoError(t, sub.Err())
	require.Eventually(t, func() bool { return len(p.Consumers()) == 0 }, expect.Limit, tick)
	require.NoError(t, m.Close())
	expect.Returns(t, p.Done())
	require.NoError(t, p.Err())
	_, err = genstage.Produce(m, "", nil, newTap().take)
	require.ErrorIs(t, err, nodes.ErrClosed)
	_, err = genstage.Subscribe(ctx, m, p.Pid(), nil, func(context.Context, []int) error { return nil })
	require.ErrorIs(t, err, nodes.ErrClosed)
}
