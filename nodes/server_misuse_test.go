package nodes

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/transport"
)

// When the application's own functions do something wrong, that is an error, or an answer: the
// program does not end, and nothing waits for ever.

// A panic in a function that strangers can reach refuses them.
func TestCheckPeerPanics(t *testing.T) {
	w := newWorld(t, "tcp")
	var log record
	failed := make(chan error, 1)
	n := w.started("front", func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.CheckPeer = func(context.Context, string) error { panic("no map") }
		c.HandshakeFailed = func(_ transport.Addr, err error) { failed <- err; panic("no map here either") }
	})
	other := w.started("other")
	_, err := other.Connect(w.ctx(), n.Name())
	require.Error(t, err)
	require.ErrorContains(t, <-failed, "Config.CheckPeer panicked: no map")
	for _, what := range []string{"Config.CheckPeer", "Config.HandshakeFailed"} {
		require.Eventually(t, func() bool { return len(log.Lines(what+" panicked", "server_misuse_test.go")) == 1 }, tooLong, tick)
	}
}

// A Server's function that calls its own process is told so; goroutines that the function has
// started may call it once the function has returned.
func TestServerCallsItself(t *testing.T) {
	n := newWorld(t, "tcp").started("front")
	later := make(chan error, 1)
	begin := make(chan struct{})
	b := serve(t, n, "me", Server{Call: func(ctx context.Context, c *Call) (any, error) {
		self := MailboxOf(ctx)
		require.NotNil(t, self)
		switch c.Request {
		case ei.Atom("name"):
			_, err := n.CallName(ctx, n.Name(), "me", ei.Atom("ping"))
			return errors.Is(err, ErrCallingSelf), nil
		case ei.Atom("pid"):
			_, err := self.Call(ctx, self.Pid(), ei.Atom("ping"))
			return errors.Is(err, ErrCallingSelf), nil
		case ei.Atom("later"):
			go func() {
				<-begin
				_, err := n.Call(ctx, self.Pid(), ei.Atom("ping"))
				later <- err
			}()
			return ei.Atom("ok"), nil
		}
		return ei.Atom("pong"), nil
	}})
	for _, request := range []string{"name", "pid"} {
		require.Equal(t, ei.Atom("true"), of(n.Call(soon(t), b.Pid(), ei.Atom(request))).must(t), request)
	}
	of(n.Call(soon(t), b.Pid(), ei.Atom("later"))).must(t)
	close(begin)
	require.NoError(t, <-later)
	require.Nil(t, MailboxOf(soon(t)))
}

// A server without functions answers calls all the same; a server with Info alone gets them there.
func TestServerTakesNoCalls(t *testing.T) {
	n := newWorld(t, "tcp").started("front")
	b := serve(t, n, "", Server{Cast: func(context.Context, ei.Term) {}})
	v := of(n.Call(soon(t), b.Pid(), ei.Atom("ping"))).must(t)
	require.Equal(t, ei.Tuple{ei.Atom("error"), ei.Binary("the server takes no calls")}, v)
	b = serve(t, n, "", Server{Info: func(ctx context.Context, self *Mailbox, m *Message) {
		if c, ok := self.CallOf(m); ok {
			_ = c.Reply(ctx, ei.Atom("pong"))
		}
	}})
	v = of(n.Call(soon(t), b.Pid(), ei.Atom("ping"))).must(t)
	require.Equal(t, ei.Atom("pong"), v)
}

// A reply that cannot be encoded is logged as a warning, since it is the program's fault.
func TestReplyIsNoTerm(t *testing.T) {
	w := newWorld(t, "tcp")
	var log record
	n := w.started("front", logsTo(&log))
	b := serve(t, n, "", Server{Call: func(context.Context, *Call) (any, error) { return nil, nil }})
	require.Contains(t, of(n.Call(w.ctx(), b.Pid(), ei.Atom("ping"))).must(t).(ei.Tuple)[0], ei.Atom("error"))
	require.Eventually(t, func() bool {
		return len(log.Lines("level=WARN", "the result of a server is no term", b.Pid().String())) == 1
	}, tooLong, tick)
}

func TestTermOfSignal(t *testing.T) {
	m := &Message{Control: dist.Control{Op: dist.OpMonitorPExit}}
	_, err := m.Term()
	require.ErrorIs(t, err, ErrNoTerm)
	require.ErrorContains(t, err, "MONITOR_P_EXIT")
	m = &Message{Control: dist.Control{Op: dist.OpSend}}
	_, err = m.Term()
	require.NotErrorIs(t, err, ErrNoTerm)
	require.Error(t, err)
}

// The log names the recipient of a message by whatever identifies it: a name, an alias or a pid.
func TestRecipientOf(t *testing.T) {
	pid := ei.Pid{Node: "a@b", ID: 7, Creation: 1}
	require.Equal(t, "kv", link.Recipient(&dist.Control{Op: dist.OpRegSend, ToName: "kv"}))
	require.Equal(t, pid.String(), link.Recipient(&dist.Control{Op: dist.OpSend, To: pid}))
	ref := ei.Ref{Node: "a@b", Creation: 1, Len: 3}
	require.Equal(t, ref.String(), link.Recipient(&dist.Control{Op: dist.OpAliasSend, Ref: ref}))
}
