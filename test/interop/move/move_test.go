//go:build unix

package move

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
)

// connMoves is how often something moves in one test; CNODE_MOVES sets another number, for long
// runs.
func connMoves() int { return otp.Times("CNODE_MOVES", need.Fewer(30, 100)) }
func nodeMoves() int { return otp.Times("CNODE_NODE_MOVES", need.Fewer(10, 30)) }

// stream is an Erlang module that sends numbered messages to the process sink of a node, and checks
// those that its own sink gets.
const stream = `-module(stream).
-export([start/1, stop/1, calls/2]).

start(N) ->
    net_kernel:monitor_nodes(true, #{node_type => all}),
    register(watch, spawn(fun() -> net_kernel:monitor_nodes(true, #{node_type => all}), watch([]) end)),
    register(sink, spawn(fun() -> sink(0, none) end)),
    register(source, spawn(fun() -> source(N, 0) end)),
    ok.

stop(Last) -> %% what was sent, what came in order up to Last, and what nodes came and went
    Sent = ask(source),
    {Sent, wait(Last, 600), ask(watch)}.

wait(Last, Tries) ->
    case ask(sink) of
        {Last, none} -> Last;
        {_, none} when Tries > 0 -> timer:sleep(100), wait(Last, Tries - 1);
        Other -> {want, Last, got, Other}
    end.

ask(Name) -> Name ! {ask, self()}, receive {Name, X} -> X after 20000 -> timeout end.

watch(Seen) ->
    receive
        {ask, From} -> From ! {watch, Seen}, watch(Seen);
        {What, Node, _} -> watch([{What, Node} | Seen])
    end.

sink(I, Bad) ->
    receive
        {ask, From} -> From ! {sink, {I, Bad}}, sink(I, Bad);
        {I, _} when Bad =:= none -> sink(I + 1, none);
        {J, _} when Bad =:= none -> sink(I, {got, J, due, I});
        _ -> sink(I, Bad)
    end.

source(N, I) ->
    receive {ask, From} -> From ! {source, I}
    after 0 ->
        Size = case I rem 500 of 499 -> 200000; _ -> I rem 300 end,
        {sink, N} ! {I, binary:copy(<<1>>, Size)},
        source(N, I + 1)
    end.

calls(N, Until) -> calls(N, Until, 0).

calls(N, Until, I) ->
    case erlang:system_time(millisecond) > Until of
        true -> I;
        false ->
            {ok, I} = gen_server:call({server, N}, I, 20000),
            I = rpc:call(N, m, f, [I]),
            calls(N, Until, I + 1)
    end.
`

// soon is a context for what must succeed, however often a connection or a node moves meanwhile.
func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute+time.Duration(connMoves()+nodeMoves())*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A sink counts numbered messages, {0, Bytes}, {1, Bytes}, …, and notes the first that is not the
// next.
type sink struct {
	mu   sync.Mutex
	next int64
	bad  error
}

func (s *sink) take(_ *nodes.Mailbox, m *nodes.Message) {
	defer m.Release()
	c := ei.NewCursor(m.Payload)
	_, err := c.Tuple()
	var i int64
	if err == nil {
		i, err = c.Int()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.bad != nil:
	case err != nil || i != s.next:
		s.bad = fmt.Errorf("%d came, %d was due (%v)", i, s.next, err)
	default:
		s.next++
	}
}

func (s *sink) state() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next, s.bad
}

// sends sends numbered messages to the sink of the Erlang node until stop is closed, over whatever
// connection there is, and returns how many.
func sends(t testing.TB, peer string, conn func() *nodes.Conn, stop <-chan struct{}) (sent int64) {
	ctx := context.Background()
	for {
		select {
		case <-stop:
			return sent
		default:
		}
		c := conn()
		if c == nil || c.Err() != nil {
			time.Sleep(10 * time.Microsecond)
			continue
		}
		err := c.SendName(ctx, "sink", ei.Tuple{ei.Int(sent), ei.Binary(make([]byte, sent%300))})
		switch {
		case err == nil:
			sent++
		case !errors.Is(err, nodes.ErrMoved): // nothing was sent
			t.Errorf("message %d to %s: %v", sent, peer, err)
			return sent
		}
	}
}

// stopped ends the streams and compares.
func stopped(t testing.TB, erl *otp.Node, in *sink, sent int64) {
	t.Helper()
	answer := erl.Eval(t, fmt.Sprintf("stream:stop(%d)", sent))
	parts := strings.SplitN(strings.Trim(answer, "{}"), ",", 3)
	require.Len(t, parts, 3, answer)
	require.Equal(t, strconv.FormatInt(sent, 10), parts[1], "what the Erlang node got")
	require.NotContains(t, parts[2], "nodedown")
	want, err := strconv.ParseInt(parts[0], 10, 64)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got, bad := in.state()
		return got == want || bad != nil
	}, time.Minute, time.Millisecond)
	_, bad := in.state()
	require.NoError(t, bad)
	t.Logf("%d messages from the Erlang node, %d to it", want, sent)
}

// finder finds nodes at a port mapper, and publishes nothing.
type finder struct{ nodes.Resolver }

// A connection moves between two nodes of one name while the Erlang node streams both ways.
func TestConnMoves(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port})
		erl.Load(t, stream)
		ctx := soon(t)
		in := &sink{}
		var workers [2]*nodes.Node
		for i := range workers {
			n, err := nodes.New(nodes.Config{
				Name: "mover" + strconv.Itoa(os.Getpid()) + "@127.0.0.1", Cookie: erl.Cookie(), Resolver: finder{gonode.Mapper(port)}, Creation: 4711,
				Worker: uint16(i),
				Setup:  func(n *nodes.Node) error { _, err := n.Handle("sink", in.take, nil); return err },
			})
			require.NoError(t, err)
			defer n.Close()
			require.NoError(t, n.Start(ctx))
			workers[i] = n
		}
		var mu sync.Mutex
		c, err := workers[0].Connect(ctx, erl.Name())
		require.NoError(t, err)
		conn := func() *nodes.Conn { mu.Lock(); defer mu.Unlock(); return c }
		require.Equal(t, "ok", erl.Eval(t, "stream:start('"+workers[0].Name()+"')"))
		stop, done := make(chan struct{}), make(chan int64, 1)
		go func() { done <- sends(t, erl.Name(), conn, stop) }()
		var silence, worst time.Duration
		moves := connMoves()
		for i := range moves {
			before, _ := in.state()
			require.Eventually(t, func() bool { now, bad := in.state(); return now > before || bad != nil }, time.Minute, 100*time.Microsecond)
			begin := time.Now()
			moved, err := c.Detach(ctx)
			require.NoError(t, err)
			next, err := workers[(i+1)%2].Adopt(ctx, moved)
			require.NoError(t, err)
			took := time.Since(begin)
			silence, worst = silence+took, max(worst, took)
			mu.Lock()
			c = next
			mu.Unlock()
		}
		close(stop)
		stopped(t, erl, in, <-done)
		t.Logf("%d moves; one took %v, the longest %v", moves, silence/time.Duration(moves), worst)
	})
}

// A whole node moves to another Node value while the Erlang node streams both ways, calls, links
// and monitors.
func TestNodeMoves(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port})
		erl.Load(t, stream)
		ctx := soon(t)
		in := &sink{}
		cfg := nodes.Config{
			Name: "upgraded" + strconv.Itoa(os.Getpid()) + "@127.0.0.1", Cookie: erl.Cookie(), Resolver: gonode.Mapper(port),
			Setup: func(n *nodes.Node) error {
				n.Expose("m", "f", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
				_, err := n.Handle("sink", in.take, nil)
				_, err2 := n.Serve("server", nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) {
					return ei.Tuple{ei.Atom("ok"), c.Request}, nil
				}}, nil)
				b, err3 := n.NewMailbox(&nodes.MailboxOptions{TrapExit: true})
				return errors.Join(err, err2, err3, n.Register(ctx, "box", b))
			},
		}
		n, err := nodes.New(cfg)
		require.NoError(t, err)
		require.NoError(t, n.Start(ctx))
		defer func() { n.Close() }()
		us := "'" + n.Name() + "'"
		_, err = n.Connect(ctx, erl.Name())
		require.NoError(t, err)
		require.Equal(t, "ok", erl.Eval(t, "stream:start("+us+")"))
		creation := n.Creation()

		// A process there that is linked to box and monitors it; box monitors and links one there.
		require.Equal(t, "true", erl.Eval(t, `P = spawn(fun F() -> receive die -> exit(died); X -> exit(X) end end), register(linked, P),
			is_pid(P)`))
		box := n.Whereis("box")
		there, err := n.RPC(ctx, erl.Name(), "erlang", "whereis", ei.Atom("linked"))
		require.NoError(t, err)
		require.NoError(t, box.Link(ctx, there.(ei.Pid)))
		ref, err := box.Monitor(ctx, there.(ei.Pid))
		require.NoError(t, err)
		require.Equal(t, "true", erl.Eval(t, `register(watcher, spawn(fun() -> R = monitor(process, {box, `+us+`}),
			receive {'DOWN', R, _, _, Why} -> receive {ask, From} -> From ! {watcher, Why} end end end))`))

		var mu sync.Mutex
		conn := func() *nodes.Conn { mu.Lock(); defer mu.Unlock(); return n.Conn(erl.Name()) }
		stop, done := make(chan struct{}), make(chan int64, 1)
		go func() { done <- sends(t, erl.Name(), conn, stop) }()
		calls := erl.Async(t, `stream:calls(`+us+`, erlang:system_time(millisecond) + 4000)`)
		var silence, worst time.Duration
		moves := nodeMoves()
		for range moves {
			before, _ := in.state()
			require.Eventually(t, func() bool { now, bad := in.state(); return now > before || bad != nil }, time.Minute, 100*time.Microsecond)
			begin := time.Now()
			next := gonode.Move(t, n, cfg).Node()
			took := time.Since(begin)
			silence, worst = silence+took, max(worst, took)
			mu.Lock()
			n = next
			mu.Unlock()
			require.Equal(t, creation, n.Creation())
		}
		close(stop)
		stopped(t, erl, in, <-done)
		t.Logf("%d moves; one took %v, the longest %v; %s calls meanwhile", moves, silence/time.Duration(moves), worst, calls())

		box = n.Whereis("box")
		require.Equal(t, "die", erl.Eval(t, "linked ! die"))
		seen := map[string]bool{}
		for range 2 {
			m, err := box.Receive(ctx)
			require.NoError(t, err)
			seen[m.Op.String()] = true
			if m.Ref != (ei.Ref{}) {
				require.Equal(t, ref, m.Ref)
			}
		}
		require.Len(t, seen, 2, "the exit signal and the DOWN")
		box.Exit(ei.Atom("left"))
		require.Equal(t, "left", erl.Eval(t, "watcher ! {ask, self()}, receive {watcher, Why} -> Why after 20000 -> none end"))
		require.Equal(t, "pong", erl.Eval(t, "net_adm:ping("+us+")"))
		names, err := gonode.Mapper(port).Resolve(ctx, n.Name())
		require.NoError(t, err)
		require.NotNil(t, names.Addr, "still published")
	})
}
