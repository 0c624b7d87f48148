package nodes

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// Peers whose calls hang, however they are made, do not keep other peers' calls from running; and
// all calls together have no more places than there are.
func TestMaxCallsOfOnePeer(t *testing.T) {
	for _, way := range []string{"spawn", "rex"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t, "memory")
			n := w.started("alice", func(cfg *Config) { cfg.MaxCalls = 16 })
			running := exposeHang(n)
			n.Expose("m", "f", func(context.Context, []ei.Term) (any, error) { return 7, nil })
			for i, share := range []int{8, 4, 2, 1} {
				p := w.peer(n.Listeners()[0], role(fmt.Sprintf("wire%d@test", i)))
				for j := range 20 {
					if way == "rex" {
						p.Say("rex", ei.Tuple{p.Self, ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("hang"), ei.List{}, ei.Atom("user")}})
					} else {
						p.request(uint32(j), "m", "hang", ei.List{})
					}
				}
				for range share {
					arrives(t, running, "a call")
				}
			}
			bob := w.started("bob")
			ctx, cancel := context.WithTimeout(context.Background(), tooLong)
			defer cancel()
			for range 20 {
				require.Equal(t, ei.Int(7), of(bob.RPC(ctx, "alice@test", "m", "f")).must(t))
			}
			require.Empty(t, running)
			// its places become free once its functions have ended
			require.NoError(t, n.Conn("wire0@test").Close())
		})
	}
}

// A peer that connects again gets no new share beside the one that its earlier connections have
// filled.
func TestMaxCallsAfterReconnect(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice", func(cfg *Config) { cfg.MaxCalls = 16 })
	running, here := exposeHang(n), registered(t, n, "here")
	for i := range 3 {
		p := w.peer(n.Listeners()[0], role("wire@test"))
		for j := range 20 {
			p.request(uint32(j), "m", "hang", ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}})
		}
		p.Say("here", ei.Int(i))
		require.Equal(t, ei.Int(i), term(t, here), "they are all read")
		run, _ := n.procs.places.Counts()
		require.Equal(t, 8, run)
		require.NoError(t, n.Conn("wire@test").Close())
	}
	for range 8 {
		arrives(t, running, "a call")
	}
	require.Empty(t, running)
}

// Calls whose callers' connection has ended by their turn are not made, and hold up nobody; casts
// are, and processes that nobody monitors.
func TestMaxCallsOfLostConnection(t *testing.T) {
	w := newWorld(t, "memory")
	n, p := w.met("alice", func(cfg *Config) { cfg.MaxCalls = 2 })
	running, release, made := make(chan struct{}), make(chan struct{}), make(chan ei.Term, 10)
	n.Expose("m", "hang", func(context.Context, []ei.Term) (any, error) { close(running); <-release; return 1, nil })
	n.Expose("m", "f", func(_ context.Context, args []ei.Term) (any, error) { made <- args[0]; return args[0], nil })
	here := registered(t, n, "here")
	monitored := ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}, ei.Atom("monitor")}
	alone := ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}}
	p.request(1, "m", "hang", monitored)
	arrives(t, running, "the first call")
	p.request(2, "erpc", "execute_call", monitored, ei.Atom("res"), ei.Atom("m"), ei.Atom("f"), ei.List{ei.Atom("erpc")})
	p.Say("rex", ei.Tuple{p.Self, ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("f"), ei.List{ei.Atom("rex")}, ei.Atom("user")}})
	p.request(3, "m", "f", alone, ei.Atom("spawned"))
	p.request(4, "erpc", "execute_cast", alone, ei.Atom("m"), ei.Atom("f"), ei.List{ei.Atom("cast")})
	p.Say("here", ei.Int(1))
	require.Equal(t, ei.Int(1), term(t, here), "they are all read")
	s := n.Stats()
	require.Equal(t, [2]int{1, 4}, [2]int{s.Calls, s.CallsWaiting})
	c := n.Conn("wire@test")
	p.Close()
	arrives(t, c.Done(), "the end of the connection")
	require.Eventually(t, func() bool { return n.Stats().CallsWaiting == 2 }, tooLong, tick, "erpc and rex are given up")
	again := w.peer(n.Listeners()[0], role("wire@test"))
	again.request(5, "m", "f", monitored, ei.Atom("again"))
	close(release)
	for _, want := range []ei.Atom{"spawned", "cast", "again"} {
		require.Equal(t, ei.Term(want), arrives(t, made, "a function"))
	}
	ctl, _ := again.Next()
	require.Equal(t, dist.OpPayloadMonitorPExit, ctl.Op)
	require.Eventually(t, func() bool { s := n.Stats(); return s.Calls == 0 && s.CallsWaiting == 0 }, tooLong, tick)
	require.Empty(t, made)
	require.Eventually(t, func() bool { return n.Stats().Mailboxes == 3 }, tooLong, tick, "net_kernel, rex, and here")
}

// That calls of a peer wait for long is said once.
func TestMaxCallsLogs(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		log := new(record)
		n, p := w.met("alice", func(cfg *Config) { cfg.MaxCalls, cfg.Logger = 1, slog.New(slog.NewTextHandler(log, nil)) })
		release := make(chan struct{})
		defer close(release)
		n.Expose("m", "hang", func(context.Context, []ei.Term) (any, error) { <-release; return 1, nil })
		quiet := ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}}
		p.request(1, "m", "hang", quiet)
		p.request(2, "m", "hang", quiet)
		p.request(3, "m", "hang", quiet)
		synctest.Wait()
		require.Empty(t, log.Lines("calls wait"))
		time.Sleep(2 * time.Second)
		p.request(4, "m", "hang", quiet)
		p.request(5, "m", "hang", quiet)
		synctest.Wait()
		require.Len(t, log.Lines("level=WARN", `msg="calls wait"`, "peer=wire@test"), 1)
	})
}

// Functions that call their peer back leave their place to others of its calls meanwhile.
func TestMaxCallsThatCallBack(t *testing.T) {
	for _, way := range []string{"spawn", "rex", "call"} {
		t.Run(way, func(t *testing.T) {
			const calls = 4
			w := newWorld(t, "memory")
			n, p := w.met("alice", func(cfg *Config) { cfg.MaxCalls = 1 })
			running, ended := make(chan ei.Term, calls), make(chan ei.Term, calls)
			n.Expose("m", "back", func(ctx context.Context, args []ei.Term) (any, error) {
				running <- args[0]
				v, err := ConnOf(ctx).RPC(ctx, "m", "f")
				if err == nil {
					ended <- v
				}
				return nil, err
			})
			for i := range calls {
				call := ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("back"), ei.List{ei.Int(i)}, ei.Atom("user")}
				ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3, ID: [5]uint32{uint32(i)}}
				switch way {
				case "spawn":
					p.request(uint32(i), "m", "back", ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}}, ei.Int(i))
				case "rex":
					p.Say("rex", ei.Tuple{p.Self, call})
				default:
					p.Say("rex", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ref}, call})
				}
			}
			for i := range calls {
				require.Equal(t, ei.Int(i), arrives(t, running, "a call"))
			}
			for i := range calls {
				var m struct {
					tag  ei.Term
					from ei.Pid
				}
				for m.tag == nil { // the call back, among answers and monitors
					_, asked := p.Next()
					if g, ok := asked.(ei.Tuple); ok && g[0] == ei.Atom("$gen_call") {
						m.from, m.tag = g[1].(ei.Tuple)[0].(ei.Pid), g[1].(ei.Tuple)[1]
					}
				}
				p.Send(dist.Control{Op: dist.OpSend, To: m.from}, ei.Tuple{m.tag, ei.Int(i)})
				require.Equal(t, ei.Int(i), arrives(t, ended, "the answer"))
			}
		})
	}
}

// Nor do more calls than there is memory for keep the connection from being read: they are refused
// at once.
func TestMaxCallsRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n, p := w.met("alice", func(cfg *Config) { cfg.MaxCalls, cfg.OverflowLimit = 1, 1<<20 })
		n.Expose("m", "back", func(ctx context.Context, args []ei.Term) (any, error) { return ConnOf(ctx).RPC(ctx, "m", "f") })
		large := ei.Binary(make([]byte, 1<<20))
		call := ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("back"), ei.List{large}, ei.Atom("user")}
		ref := ei.Ref{Node: "wire@test", Creation: 77, Len: 3, ID: [5]uint32{9}}
		limit := otp.BadRPC(ei.Tuple{ei.Atom("EXIT"), ei.Atom("system_limit")})
		p.Say("rex", ei.Tuple{p.Self, call}) // it runs
		var asked ei.Tuple
		for len(asked) == 0 || asked[0] != ei.Atom("$gen_call") {
			_, t := p.Next()
			asked, _ = t.(ei.Tuple)
		}
		begin := time.Now()
		p.Say("rex", ei.Tuple{p.Self, call})
		_, refused := p.Next()
		require.Equal(t, ei.Tuple{ei.Atom("rex"), limit}, refused)
		p.Say("rex", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ref}, call})
		_, refused = p.Next()
		require.Equal(t, ei.Tuple{ref, limit}, refused)
		deep := append(bytes.Repeat([]byte{108, 0, 0, 0, 1}, 200_000), bytes.Repeat([]byte{106}, 200_001)...)
		call[3] = ei.Raw(deep) // nested deeper than is decoded
		p.Say("rex", ei.Tuple{p.Self, call})
		_, refused = p.Next()
		require.Equal(t, ei.Tuple{ei.Atom("rex"), limit}, refused)
		p.Say("rex", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, ref}, call})
		_, refused = p.Next()
		require.Equal(t, ei.Tuple{ref, limit}, refused)
		p.request(1, "m", "back", ei.List{ei.Atom("monitor")}, large)
		ctl, _ := p.Next()
		require.Equal(t, dist.OpSpawnReply, ctl.Op)
		require.Zero(t, ctl.Flags)
		require.Equal(t, ei.Atom("system_limit"), of(ctl.Result.Decode()).must(t))
		require.Zero(t, time.Since(begin), "at once")
		require.EqualValues(t, 5, n.Stats().CallsRefused)
		from := asked[1].(ei.Tuple)
		p.Send(dist.Control{Op: dist.OpSend, To: from[0].(ei.Pid)}, ei.Tuple{from[1], ei.Int(5)})
		var got ei.Term
		for !reflect.DeepEqual(got, ei.Tuple{ei.Atom("rex"), ei.Int(5)}) {
			_, got = p.Next()
		}
	})
}

// A call on the node itself that gets no place ends with its context.
func TestMaxCallsHere(t *testing.T) {
	n := newWorld(t, "memory").started("alice", func(cfg *Config) { cfg.MaxCalls = 1 })
	running, release := make(chan struct{}, 1), make(chan struct{})
	n.Expose("m", "wait", func(context.Context, []ei.Term) (any, error) { running <- struct{}{}; <-release; return 1, nil })
	first := async(func() (ei.Term, error) { return n.RPC(soon(t), "alice@test", "m", "wait") })
	arrives(t, running, "the call")
	inTime(t, "RPC", func() {
		_, err := n.RPC(brief(t), "alice@test", "m", "wait")
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	close(release)
	require.Equal(t, ei.Int(1), arrives(t, first, "the answer").v)
	require.Eventually(t, func() bool { s := n.Stats(); return s.Calls+s.CallsWaiting == 0 }, tooLong, tick)
	require.Empty(t, running, "the other one would run for nobody")
}

// A process that an exit signal ends holds no place, whatever its function does.
func TestMaxCallsOfKilledProcess(t *testing.T) {
	n, p := newWorld(t, "memory").met("alice", func(cfg *Config) { cfg.MaxCalls = 1 })
	stop := make(chan struct{})
	defer close(stop)
	n.Expose("m", "deaf", func(context.Context, []ei.Term) (any, error) { <-stop; return 1, nil })
	n.Expose("m", "f", func(context.Context, []ei.Term) (any, error) { return 7, nil })
	for i := range 3 {
		p.request(uint32(i), "m", "deaf", ei.List{})
		ctl, _ := p.Next()
		require.Equal(t, dist.OpSpawnReply, ctl.Op)
		pid := of(ctl.Result.Decode()).must(t)
		p.Send(dist.Control{Op: dist.OpExit2, From: p.Self, To: pid.(ei.Pid), Reason: exitReason(ei.Atom("kill"))}, nil)
	}
	ref := p.request(5, "m", "f", ei.List{ei.Tuple{ei.Atom("reply"), ei.Atom("no")}, ei.Atom("monitor")})
	require.Equal(t, ei.Atom("normal"), p.down(ref))
}

// A function that waits for a message leaves its place to others meanwhile: to one that the message
// comes from, say.
func TestMaxCallsThatReceive(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice", func(cfg *Config) { cfg.MaxCalls = 1 })
	here := registered(t, n, "here")
	n.Expose("m", "receive", func(ctx context.Context, _ []ei.Term) (any, error) {
		m, err := here.Receive(ctx)
		if err != nil {
			return nil, err
		}
		return m.Term()
	})
	n.Expose("m", "send", func(ctx context.Context, _ []ei.Term) (any, error) {
		return ei.Atom("ok"), n.sendHereNow(&dist.Control{Op: dist.OpRegSend, ToName: "here"}, 7)
	})
	bob := w.started("bob")
	ctx := w.ctx()
	got := make(chan ei.Term, 1)
	go func() {
		v, _ := bob.RPC(ctx, "alice@test", "m", "receive")
		got <- v
	}()
	of(bob.RPC(ctx, "alice@test", "m", "send")).must(t)
	require.Equal(t, ei.Int(7), <-got)
}

// A call that is read as its connection ends is one whose caller is gone.
func TestCallsReadAfterTheEnd(t *testing.T) {
	w := newWorld(t, "memory")
	n, p := w.met("alice")
	n.Expose("m", "hang", func(ctx context.Context, _ []ei.Term) (any, error) { <-ctx.Done(); return nil, nil })
	c := w.conn(n, "wire@test")
	require.NoError(t, c.Close())
	n.route(c, &Message{Control: dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "rex"}, conn: c,
		Payload: encode(t, ei.Tuple{p.Self, ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("hang"), ei.List{}, ei.Atom("user")}})})
	n.route(c, &Message{Control: dist.Control{Op: dist.OpSpawnRequest, Ref: monitorRef(p, 1), From: p.Self, GroupLeader: p.Self,
		Module: "erpc", Function: "execute_call", Arity: 4, Options: encode(t, ei.List{ei.Atom("monitor")})}, conn: c,
		Payload: encode(t, ei.List{ei.Atom("res"), ei.Atom("m"), ei.Atom("hang"), ei.List{}})})
	require.Eventually(t, func() bool { return n.Stats().Calls == 0 && n.life.Work.None() }, tooLong, tick)
	require.Zero(t, n.requests.Held())
}
