package nodes

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
)

// A function that ends its goroutine by runtime.Goexit, as a failing test does, ends nothing else.

var goexit = ei.Tuple{ei.Atom("go_panic"), ei.Binary("runtime.Goexit")}

// isRead waits until the node reads what the peer sends: it gets an answer.
func isRead(p *wire) {
	p.T.Helper()
	p.Say("net_kernel", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{p.Self, monitorRef(p, 99)}, ei.Tuple{ei.Atom("is_auth"), ei.Atom("x")}})
	ctl, reply := p.Next()
	for ctl.Op != dist.OpSendSender {
		ctl, reply = p.Next()
	}
	require.Equal(p.T, ei.Tuple{monitorRef(p, 99), ei.Atom("yes")}, reply)
}

func TestHandlerGoexit(t *testing.T) {
	exits := func(*Mailbox, *Message) { runtime.Goexit() }
	t.Run("message", func(t *testing.T) {
		w := newWorld(t, "memory")
		n, p := w.met("alice")
		h := handle(t, n, "h", exits)
		p.Say("h", ei.Atom("x"))
		isRead(p)
		require.Equal(t, goexit, exited(t, h))
		p.Close()
		require.Eventually(t, func() bool { return n.Conn("wire@test") == nil }, tooLong, tick)
		inTime(t, "Close", func() { n.Close() })
	})
	t.Run("signals of the end of a process", func(t *testing.T) {
		w := newWorld(t, "memory")
		n, p := w.met("alice")
		isRead(p) // the connection is up on both sides
		b := box(t, n)
		for range 3 {
			h := handle(t, n, "", exits, &MailboxOptions{TrapExit: true})
			require.NoError(t, h.Link(w.ctx(), b.Pid()))
		}
		require.True(t, b.watched(monitorRef(p, 1), bonds.Watcher{Pid: p.Self}))
		inTime(t, "Exit", func() { b.Exit(ei.Atom("crash")) })
		ctl, why := p.Next()
		require.Equal(t, dist.OpPayloadMonitorPExit, ctl.Op)
		require.Equal(t, ei.Atom("crash"), why)
		require.Eventually(t, func() bool { return len(n.procs.all()) == 2 }, tooLong, tick, "net_kernel and rex")
	})
	t.Run("end of a connection", func(t *testing.T) {
		w := newWorld(t, "memory")
		n, p := w.met("alice")
		h := handle(t, n, "", exits, &MailboxOptions{TrapExit: true})
		p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: h.Pid()}, nil)
		isRead(p)
		c := n.Conn("wire@test")
		p.Close()
		arrives(t, c.l.Left(), "the end of the connection")
		require.Equal(t, goexit, exited(t, h))
		isRead(w.peer(n.Listeners()[0], role("wire@test")))
	})
}

func TestFuncGoexit(t *testing.T) {
	w := newWorld(t, "memory")
	n, p := w.met("alice")
	exposeAll(n)
	_, err := w.started("bob").RPC(w.ctx(), "alice@test", "m", "goexit")
	var e *RPCError
	require.ErrorAs(t, err, &e)
	require.Equal(t, ei.Tuple{ei.Atom("EXIT"), ei.Atom("killed")}, e.Reason)
	// As the C library asks.
	p.Say("rex", ei.Tuple{p.Self, ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("goexit"), ei.List{}, ei.Atom("user")}})
	_, answer := p.Next()
	require.Equal(t, ei.Tuple{ei.Atom("rex"), ei.Tuple{ei.Atom("badrpc"), ei.Tuple{ei.Atom("EXIT"), ei.Atom("killed")}}}, answer)
}

// A panic in Config.Handover is an error of Freeze, and Config.Thawed is called then.
func TestHandoverPanics(t *testing.T) {
	w := newWorld(t, "tcp")
	fails, thawed := true, 0
	n := w.started("alice", func(cfg *Config) {
		cfg.Handover = func(context.Context) ([]byte, error) {
			if fails {
				panic("a bug")
			}
			return nil, nil
		}
		cfg.Thawed = func() {
			thawed++
			panic("another one")
		}
	})
	_, err := n.Freeze(w.ctx())
	require.ErrorContains(t, err, "Config.Handover panicked: a bug")
	require.Equal(t, 1, thawed)
	fails = false
	f := freeze(t, n)
	require.Equal(t, 1, thawed)
	f.Thaw()
	require.Equal(t, 2, thawed)
	f = freeze(t, n)
	require.NoError(t, f.Release())
	require.Equal(t, 2, thawed)
}

func TestHandoverGoexit(t *testing.T) {
	w := newWorld(t, "tcp")
	n := w.started("alice", func(cfg *Config) {
		cfg.Handover = func(context.Context) ([]byte, error) { runtime.Goexit(); return nil, nil }
	})
	p := w.peer(n.Listeners()[0], role("wire@test"))
	for range 2 {
		ended := make(chan int, 1)
		go func() {
			defer func() { ended <- 1 }()
			_, _ = n.Freeze(w.ctx())
		}()
		arrives(t, ended, "the end of Freeze")
		isRead(p)
	}
}
