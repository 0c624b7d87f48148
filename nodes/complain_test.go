package nodes

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/hush"
	"github.com/cnode-go/cnode/transport"
)

// A peer's global that synchronises with a visible node which does not take part is in the log,
// once; rules that refuse it change nothing. Of a hidden node, or one that has such a process,
// nothing is said.
func TestVisibleWithoutGlobal(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(cfg *Config)
		with   bool // a process of that name
		want   int
	}{
		"visible": {func(cfg *Config) { cfg.Visible = true }, false, 1},
		"rules":   {func(cfg *Config) { cfg.Visible, cfg.Rules = true, []Rule{{}} }, false, 1},
		"hidden":  {func(*Config) {}, false, 0},
		"with":    {func(cfg *Config) { cfg.Visible = true }, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, log := newWorld(t, "memory"), new(record)
			n := w.started("alice", func(cfg *Config) {
				tt.change(cfg)
				cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
			})
			if tt.with {
				require.NoError(t, n.Register(t.Context(), "global_name_server", box(t, n)))
			}
			for range 2 {
				p := w.peer(n.Listeners()[0], role("erl@test"))
				p.Say("global_name_server", ei.Tuple{ei.Atom("$gen_cast"), ei.Tuple{ei.Atom("init_connect")}})
				p.settled()
			}
			require.Len(t, log.Lines("level=WARN", "nodes/global", "peer=erl@test"), tt.want)
		})
	}
}

// What a program sends as an ei.Raw that is no term is in its own log: the first to a peer as a
// warning. As a result or a reply it is none, and the caller hears so.
func TestMalformedRaw(t *testing.T) {
	broken := ei.Raw{109, 255, 255, 255, 255, 1}
	log := new(record)
	w := newWorld(t, "memory")
	a := w.started("alice", func(cfg *Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	b := w.started("bob")
	from, far := box(t, a), box(t, b)
	c := connect(t, a, b.Name())
	pids := slices.Values([]ei.Pid{far.Pid()})
	sends := []func(term ei.Raw) error{
		func(r ei.Raw) error { return from.Send(w.ctx(), far.Pid(), r) },
		func(r ei.Raw) error {
			return from.SendName(w.ctx(), b.Name(), "x", ei.Tuple{ei.Atom("a"), ei.Tuple{r}})
		},
		func(r ei.Raw) error { return c.SendRaw(w.ctx(), far.Pid(), r) },
		func(r ei.Raw) error { return c.SendNameRaw(w.ctx(), "x", r) },
		func(r ei.Raw) error { return from.SendAll(w.ctx(), pids, r) },
	}
	for _, bad := range []ei.Raw{broken, {97, 1, 97, 1}, {106}} {
		for _, send := range sends {
			require.NoError(t, send(bad))
		}
	}
	require.Len(t, log.Lines("a malformed ei.Raw was sent"), 2*len(sends), "the empty list is none")
	require.Len(t, log.Lines("a malformed ei.Raw was sent", "level=WARN", "peer=bob@test", "6 bytes to "+far.Pid().String()), 1)
	require.Len(t, log.Lines("a malformed ei.Raw was sent", "level=WARN"), 2, "the other one is to many")

	a.Expose("m", "broken", func(context.Context, []ei.Term) (any, error) { return broken, nil })
	_, err := b.RPC(w.ctx(), a.Name(), "m", "broken")
	require.ErrorContains(t, err, "the result of m:broken/0")
	serve(t, a, "server", Server{Call: func(context.Context, *Call) (any, error) { return broken, nil }})
	require.Contains(t, of(b.CallName(w.ctx(), a.Name(), "server", ei.Atom("hello"))).must(t).String(), "{error,")
}

// When the upper level cannot decode what a peer sends, or does not know it, the log names the peer
// and the error, as a warning once a connection.
func TestFaultsAreLogged(t *testing.T) {
	broken := ei.Raw{109, 255, 255, 255, 255, 1}
	// a map with equal keys: only decoding shows it
	twice := ei.Raw{116, 0, 0, 0, 2, 97, 1, 97, 1, 97, 1, 97, 2}
	good := func(v any) ei.Raw {
		return of(ei.Append(nil, v)).must(t)
	}
	wire := ei.Pid{Node: "wire@test", ID: 1, Creation: 4}
	gen := func(tag string, more ...any) ei.Raw { return good(ei.T(ei.Atom(tag), more...)) }
	from := ei.Tuple{wire, ei.Atom("tag")}
	to := func(name ei.Atom) dist.Control { return dist.Control{Op: dist.OpRegSend, ToName: name} }
	for _, tt := range []struct {
		name    string
		says    string
		control dist.Control // To, if it has none, is a mailbox that is linked
		payload ei.Raw
	}{
		{"a call", "undecodable request", to("server"), gen("$gen_call", from, twice)},
		{"a cast", "undecodable cast", to("server"), gen("$gen_cast", twice)},
		{"a broken call", "undecodable message", to("server"), gen("$gen_call", from, broken)},
		{"a message", "undecodable message", to("server"), broken},
		{"a message to rex", "undecodable message to rex", to("rex"), broken},
		{"an exit reason", "undecodable exit reason", dist.Control{Op: dist.OpPayloadExit}, broken},
		{"arguments", "undecodable spawn request", dist.Control{
			Op: dist.OpSpawnRequest, GroupLeader: wire, Module: "m", Function: "f", Arity: 1, Options: ei.Raw{106},
		}, broken},
		{"arguments that only decoding shows", "undecodable arguments", dist.Control{
			Op: dist.OpSpawnRequest, GroupLeader: wire, Module: "m", Function: "f", Arity: 1, Options: good(ei.List{ei.Atom("monitor")}),
		}, append(ei.Raw{108, 0, 0, 0, 1}, append(twice, 106)...)},
		{"a function that is not there", `what is not exposed" node=bob@test function=m:mistyped/0 peer=wire@test`, dist.Control{
			Op: dist.OpSpawnRequest, GroupLeader: wire, Module: "m", Function: "mistyped", Arity: 0, Options: ei.Raw{106},
		}, ei.Raw{106}},
		{"a cast to one", "function=m:mistyped/0", dist.Control{
			Op: dist.OpSpawnRequest, GroupLeader: wire, Module: "erpc", Function: "execute_cast", Arity: 3, Options: ei.Raw{106},
		}, good(ei.List{ei.Atom("m"), ei.Atom("mistyped"), ei.List{}})},
		{"an old cast to one", "function=m:mistyped/0", to("rex"),
			gen("$gen_cast", ei.T("cast", ei.Atom("m"), ei.Atom("mistyped"), ei.List{}, wire))},
		{"a spawn option", "spawn request refused", dist.Control{
			Op: dist.OpSpawnRequest, GroupLeader: wire, Module: "m", Function: "f", Arity: 0, Options: good(ei.List{ei.Atom("wings")}),
		}, ei.Raw{106}},
		{"a process that cannot be answered for", "a signal that cannot be encoded is dropped", dist.Control{
			Op: dist.OpMonitorP, To: ei.Pid{Node: "x", ID: 1}, Ref: ei.Ref{Node: "wire@test", Creation: 4, Len: 3},
		}, nil},
		{"flags without a meaning", "control message skipped", dist.Control{
			Op: dist.OpAltactSigSend, Flags: dist.AltactName | dist.AltactExit, ToName: "server",
		}, ei.Raw{97, 1}},
		{"an unknown operation", "control message skipped", dist.Control{}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log record
			w := newWorld(t, "tcp")
			b := w.started("bob", func(cfg *Config) {
				cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				cfg.Setup = func(n *Node) error {
					_, err := n.Serve("server", Server{
						Call: func(context.Context, *Call) (any, error) { return ei.Atom("ok"), nil },
						Cast: func(context.Context, ei.Term) {},
					}, nil)
					return err
				}
			})
			p := w.peer(b.Listeners()[0], role("wire@test"))
			for i := range 3 {
				ctl := tt.control
				ctl.From = p.Self
				switch ctl.Op {
				case dist.OpPayloadExit:
					ctl.To = box(t, b).Pid()
					p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: ctl.To}, nil)
				case dist.OpSpawnRequest:
					ctl.Ref = ei.Ref{Node: "wire@test", Creation: 4, Len: 3, ID: [5]uint32{uint32(i) + 1}}
				}
				f := []byte{0, 0, 0, 7, 112, 131, 104, 2, 97, 99, 106} // {99, []}
				if ctl.Op != 0 {
					f = of(protocol.AppendFrame(nil, &ctl, tt.payload)).must(t)
				}
				if ctl.To.Node == "x" {
					f = bytes.Replace(f, []byte{119, 1, 'x'}, []byte{119, 0}, 1)
					binary.BigEndian.PutUint32(f, uint32(len(f)-4))
				}
				require.NoError(t, p.Write(f))
			}
			level, reason := "level=WARN", "error="
			if strings.Contains(tt.says, "m:mistyped/0") { // it is no fault to look which functions there are
				level, reason = "level=INFO", ""
			}
			require.Eventually(t, func() bool { return len(log.Lines(tt.says, "peer=wire@test", reason)) == 3 }, tooLong, tick, tt.says)
			require.Len(t, log.Lines(level, tt.says), 1)
			require.Len(t, log.Lines("level=DEBUG", tt.says), 2)
		})
	}
}

// The log says where a function of the application has panicked.
func TestPanicsAreLogged(t *testing.T) {
	w := newWorld(t, "memory")
	log := new(record)
	n := w.started("bob", func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	faulty := func() { panic("a bug") }
	serve(t, n, "srv", Server{Info: func(context.Context, *Mailbox, *Message) { faulty() }})
	handle(t, n, "handler", func(*Mailbox, *Message) { faulty() })
	n.Expose("m", "f", func(context.Context, []ei.Term) (any, error) { faulty(); return nil, nil })
	b := box(t, n)
	require.NoError(t, b.SendName(w.ctx(), "bob@test", "srv", 1))
	require.NoError(t, b.SendName(w.ctx(), "bob@test", "handler", 1))
	_, err := n.RPC(w.ctx(), "bob@test", "m", "f")
	require.Error(t, err)
	for _, what := range []string{"server", "handler", "function"} {
		require.Eventually(t, func() bool {
			return len(log.Lines(what+" panicked", "a bug", "TestPanicsAreLogged.func")) == 1
		}, tooLong, tick, what)
	}
}

// Errors that strangers and peers can provoke in the application's functions any number of times do
// not fill the log.
func TestMishapsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		log := new(record)
		n := w.started("bob", func(cfg *Config) {
			cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
			cfg.HandshakeFailed = func(transport.Addr, error) { panic("a bug") }
		})
		const times = 3 * hush.PerSecond
		for range times {
			w.wire(n.Listeners()[0]).Close()
			synctest.Wait()
		}
		require.Equal(t, hush.PerSecond, len(log.Lines("HandshakeFailed panicked")))
	})
}

// A result that is no term is a warning with the name of the function or server, at most once a
// second each.
func TestResultIsNoTerm(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		log := new(record)
		n := w.started("bob", func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(log, nil)) })
		srv := Server{Call: func(context.Context, *Call) (any, error) { return []any{make(chan int)}, nil }}
		serve(t, n, "srv", srv)
		serve(t, n, "another", srv)
		nameless := serve(t, n, "", srv)
		n.Expose("m", "nothing", func(context.Context, []ei.Term) (any, error) { return nil, nil })
		n.Expose("m", "channel", func(context.Context, []ei.Term) (any, error) { return make(chan int), nil })
		n.Expose("m", "raise", func(context.Context, []ei.Term) (any, error) { return nil, &Raise{Reason: ei.Atom("\xff")} })
		n.Expose("m", "good", func(context.Context, []ei.Term) (any, error) { return nil, errors.New("an error is one") })
		round := func() {
			for range 3 {
				for _, name := range []string{"srv", "another"} {
					require.Equal(t, ei.Atom("error"), of(n.CallName(w.ctx(), "bob@test", name, 1)).must(t).(ei.Tuple)[0])
				}
				of(n.Call(w.ctx(), nameless.Pid(), 1)).must(t)
				for _, name := range []string{"nothing", "channel", "raise", "good"} {
					_, err := n.RPC(w.ctx(), "bob@test", "m", name)
					require.Error(t, err, name)
				}
			}
			synctest.Wait()
		}
		for i := range 2 {
			round()
			for _, what := range []string{
				"server=srv", "server=another", "server=" + nameless.Pid().String(), "function=m:nothing/0", "function=m:channel/0",
				"function=m:raise/0",
			} {
				require.Len(t, log.Lines("level=WARN", "is no term", what), i+1, what)
			}
			require.Len(t, log.Lines("is no term"), 6*(i+1))
			time.Sleep(time.Minute)
		}
		require.Len(t, log.Lines("is no term", "times=3"), 6)
	})
}

// A signal that cannot be encoded ends neither a process nor a connection.
func TestUnencodableSignal(t *testing.T) {
	w := newWorld(t, "tcp")
	a, b := w.started("alice"), w.started("bob")
	box := box(t, a)
	c := connect(t, a, b.Name())
	_, err := box.MonitorName(w.ctx(), b.Name(), strings.Repeat("x", 256))
	require.ErrorIs(t, err, ei.ErrAtom)
	_, err = box.CallName(w.ctx(), b.Name(), strings.Repeat("x", 256), ei.Atom("x"))
	require.ErrorIs(t, err, ei.ErrAtom)
	_, err = box.CallName(w.ctx(), b.Name(), "", ei.Atom("x"))
	require.ErrorContains(t, err, "the name is empty")
	c.answer(&dist.Control{Op: dist.OpAliasSend, From: box.Pid()}, ei.Raw{97, 1}) // to no reference
	require.NoError(t, c.Err())
	require.Equal(t, []string{b.Name()}, a.Peers())
}

// A fault of the peer that ends a connection is logged as a warning, with the error.
func TestBreachesAreLogged(t *testing.T) {
	for what, f := range map[string][]byte{
		"a malformed frame":           {0, 0, 0, 2, 1, 2},
		"a malformed control message": {0, 0, 0, 7, 112, 131, 104, 2, 97, 1, 106}, // {1, []}
		"another node's link": func() []byte {
			b, err := protocol.AppendFrame(nil, &dist.Control{Op: dist.OpLink, From: ei.Pid{Node: "eve@test", ID: 1},
				To: ei.Pid{Node: "bob@test", ID: 1}}, nil)
			require.NoError(t, err)
			return b
		}(),
	} {
		t.Run(what, func(t *testing.T) {
			log := new(record)
			w := newWorld(t, "memory")
			b, p := w.met("bob", func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(log, nil)) })
			c := w.conn(b, "wire@test")
			require.NoError(t, p.Write(f))
			arrives(t, c.Done(), "the end")
			require.Len(t, log.Lines("level=WARN", "connection ended over what the peer has sent", "peer=wire@test", "error="), 1)
			require.EqualValues(t, 1, b.Stats().Malformed)
		})
	}
}

// A peer that uses up each descriptor as soon as one is free does not fill the log.
func TestWaitsForDescriptorsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(record)
		n := newWorld(t, "memory").started("bob", func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(log, nil)) })
		for range 3 * hush.PerSecond {
			n.Listeners()[0].l.Exhausted(syscall.EMFILE)
		}
		require.Equal(t, hush.PerSecond, len(log.Lines("connections have to wait")))
	})
}

// A peer that ends the connection while something is on its way has done nothing wrong.
func TestEndWithSomethingUnread(t *testing.T) {
	w := newWorld(t, "tcp")
	log := new(record)
	b, p := w.met("bob", func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(log, nil)) })
	c := w.conn(b, "wire@test")
	require.NoError(t, box(t, b).Send(w.ctx(), p.Self, ei.Atom("unread")))
	require.NoError(t, c.l.Flush(w.ctx()))
	p.Close()
	require.ErrorIs(t, ended(t, c), syscall.ECONNRESET)
	require.Eventually(t, func() bool { return len(log.Lines("level=INFO", "node down", "connection reset by peer")) == 1 }, tooLong, tick)
	require.Empty(t, log.Lines("level=WARN"))
}
