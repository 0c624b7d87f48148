package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// Nodes that call each other back: what is read is never held up by what waits for it.

// team starts nodes that find each other; edit may be nil.
func team(t *testing.T, names []string, edit func(cfg *nodes.Config)) (all []*nodes.Node) {
	t.Helper()
	table := nodes.Static{}
	for _, name := range names {
		cfg := nodes.Config{Name: name, Cookie: "secret", Resolver: table,
			Listen: transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))}
		if edit != nil {
			edit(&cfg)
		}
		n, err := nodes.New(cfg)
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		require.NoError(t, n.Start(t.Context()))
		table[name] = nodes.Endpoint{Addr: n.Listeners()[0].Addr()}
		all = append(all, n)
	}
	return all
}

// patient is a context for what must end, however slow the machine.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// atOnce runs f n times at once, and returns the errors.
func atOnce(n int, f func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// Servers whose mailboxes are full call their callers' node back.
func TestServerCallsBackBehindAFullMailbox(t *testing.T) {
	all := team(t, []string{"a@127.0.0.1", "b@127.0.0.1"}, nil)
	a, b := all[0], all[1]
	ctx := patient(t)
	const casts = 500
	var served atomic.Int64
	done := make(chan struct{})
	_, err := b.Serve("back", nodes.Server{Cast: func(ctx context.Context, _ ei.Term) {
		if v, err := b.RPC(ctx, a.Name(), "m", "one"); err == nil && v == ei.Int(1) && served.Add(1) == casts {
			close(done)
		}
	}}, &nodes.MailboxOptions{Limit: 100_000})
	require.NoError(t, err)
	a.Expose("m", "one", func(context.Context, []ei.Term) (any, error) { return 1, nil })
	from, err := a.NewMailbox(nil)
	require.NoError(t, err)
	for range casts {
		require.NoError(t, from.CastName(ctx, b.Name(), "back", make([]byte, 50_000)))
	}
	select {
	case <-done:
	case <-ctx.Done():
		t.Fatalf("%d of %d", served.Load(), casts)
	}
	require.Zero(t, b.Stats().Overflow)
}

// Plain servers that many call both ways at once do not wait for each other.
func TestEchoServersBothWays(t *testing.T) {
	all := team(t, []string{"a@127.0.0.1", "b@127.0.0.1"}, nil)
	for _, n := range all {
		_, err := n.Serve("echo", nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) { return c.Request, nil }},
			&nodes.MailboxOptions{Limit: 4 << 20})
		require.NoError(t, err)
	}
	ctx := patient(t)
	request, calls := ei.Binary(make([]byte, 200_000)), need.Fewer(200, 600) // still ten times a mailbox
	require.NoError(t, atOnce(calls, func(i int) error {
		_, err := all[i%2].CallName(ctx, all[1-i%2].Name(), "echo", request)
		return err
	}))
}

// Calls whose callers have given up end, and hold up nobody: those that run, and those that wait
// for a place.
func TestCallersThatGiveUp(t *testing.T) {
	all := team(t, []string{"a@127.0.0.1", "b@127.0.0.1"}, func(c *nodes.Config) { c.MaxCalls = 2 })
	a, b := all[0], all[1]
	ctx := patient(t)
	var ended atomic.Int64
	began := map[string]chan struct{}{"hang": make(chan struct{}, 20), "deaf": make(chan struct{}, 20)}
	stop := make(chan struct{})
	defer close(stop)
	b.Expose("m", "hang", func(ctx context.Context, _ []ei.Term) (any, error) {
		began["hang"] <- struct{}{}
		<-ctx.Done()
		ended.Add(1)
		return nil, ctx.Err()
	})
	b.Expose("m", "deaf", func(context.Context, []ei.Term) (any, error) { began["deaf"] <- struct{}{}; <-stop; return 1, nil })
	b.Expose("m", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
	for _, name := range []string{"hang", "deaf"} {
		soon, cancel := context.WithCancel(ctx)
		go func() {
			for b.Stats().CallsWaiting < 15 {
				time.Sleep(time.Millisecond)
			}
			<-began[name]
			cancel()
		}()
		err := atOnce(20, func(int) error {
			_, err := a.RPC(soon, b.Name(), "m", name)
			return err
		})
		require.ErrorIs(t, err, context.Canceled)
		v, err := a.RPC(ctx, b.Name(), "m", "echo", 5)
		require.NoError(t, err)
		require.Equal(t, ei.Int(5), v)
	}
	require.Eventually(t, func() bool { return ended.Load() > 0 }, time.Minute, time.Millisecond)
	require.Less(t, ended.Load(), int64(20), "those that waited for a place were not made")
}

// Nodes that call each other back, with limits that are tiny, end what they do, whatever it is:
// with a result or an error. CNODE_TEST_SOAK has it go on for longer.
func TestNothingWaitsForEver(t *testing.T) {
	length := time.Second
	if s := os.Getenv("CNODE_TEST_SOAK"); s != "" {
		var err error
		length, err = time.ParseDuration(s)
		require.NoError(t, err)
	}
	for until := time.Now().Add(length); time.Now().Before(until); {
		muddle(t, rand.Uint64())
	}
}

// muddle is one trial of TestNothingWaitsForEver.
func muddle(t *testing.T, seed uint64) {
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	names := []string{"a@127.0.0.1", "b@127.0.0.1", "c@127.0.0.1"}
	tiny := func(most int) int { return 1 + r.IntN(most) }
	box := &nodes.MailboxOptions{Limit: tiny(5000)}
	all := team(t, names, func(c *nodes.Config) {
		c.MaxCalls, c.OverflowLimit, c.QueueLimit = tiny(3), tiny(100_000), tiny(10_000)
	})
	defer func() {
		for _, n := range all {
			n.Close()
		}
	}()
	for _, n := range all {
		// go on calls others, and hands the rest of the way on.
		step := func(ctx context.Context, way ei.Term) (any, error) {
			steps, _ := ei.Elements(way)
			if len(steps) == 0 {
				return ei.Atom("end"), nil
			}
			s := steps[0].(ei.Tuple)
			to, rest := string(s[1].(ei.Atom)), ei.List(steps[1:])
			switch s[0] {
			case ei.Atom("rpc"):
				return n.RPC(ctx, to, "m", "step", rest, s[2])
			case ei.Atom("call"):
				return n.CallName(ctx, to, "server", ei.Tuple{rest, s[2]})
			}
			from, err := n.NewMailbox(box)
			if err != nil {
				return nil, err
			}
			defer from.Close()
			for range 3 {
				err = errors.Join(err, from.CastName(ctx, to, "server", ei.Tuple{rest, s[2]}))
			}
			return ei.Atom("sent"), err
		}
		n.Expose("m", "step", func(ctx context.Context, args []ei.Term) (any, error) { return step(ctx, args[0]) })
		serve := func() {
			_, _ = n.Serve("server", nodes.Server{
				Call: func(ctx context.Context, c *nodes.Call) (any, error) {
					if nodes.MailboxOf(ctx) == nil {
						return nil, errors.New("not a server's")
					}
					go func() { // a server that waited for itself, over others, would wait for ever
						v, err := step(ctx, c.Request.(ei.Tuple)[0])
						if err != nil {
							v = ei.Atom("failed")
						}
						_ = c.Reply(ctx, v)
					}()
					return nodes.NoReply, nil
				},
				Cast: func(ctx context.Context, request ei.Term) {
					brief, cancel := context.WithTimeout(ctx, 50*time.Millisecond) // as above
					defer cancel()
					_, _ = step(brief, request.(ei.Tuple)[0])
				},
			}, box)
		}
		serve()
	}
	ways := make([]ei.List, 200)
	for i := range ways {
		for range 1 + r.IntN(5) {
			op := []ei.Atom{"rpc", "rpc", "call", "cast"}[r.IntN(4)]
			ways[i] = append(ways[i], ei.Tuple{op, ei.Atom(names[r.IntN(3)]), ei.Binary(make([]byte, r.IntN(3000)))})
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := atOnce(len(ways), func(i int) error {
		_, err := all[i%3].RPC(ctx, all[(i+1)%3].Name(), "m", "step", ways[i])
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
			return fmt.Errorf("%v: %w", ways[i], err)
		}
		return nil
	})
	require.NoError(t, err)
	for i, n := range all { // and they are none the worse for it
		require.Eventually(t, func() bool { // what the others have left behind has ended
			_, err := n.RPC(ctx, all[(i+1)%3].Name(), "m", "step", ei.List{})
			return err == nil
		}, time.Minute, time.Millisecond)
	}
}
