package nodes

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/ids"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/transport"
)

func TestNewErrors(t *testing.T) {
	for what, tt := range map[string]struct {
		cfg  Config
		want error // nil: any
	}{
		"name beside host": {Config{Name: "a@b", Host: "b", Cookie: "x"}, nil},
		"name without @":   {Config{Name: "a", Cookie: "x"}, dist.ErrInvalidName},
		"two @":            {Config{Name: "a@b@c", Cookie: "x"}, dist.ErrInvalidName},
		"no host":          {Config{Name: "a@", Cookie: "x"}, dist.ErrInvalidName},
		"bad host":         {Config{Host: "a@b", Cookie: "x"}, dist.ErrInvalidName},
		"bad alive":        {Config{Host: "b", Alive: "a@b", Cookie: "x"}, dist.ErrInvalidName},
		"NUL":              {Config{Name: "a\x00@b", Cookie: "x"}, dist.ErrInvalidName},
		"old atom cache":   {Config{Name: "a@b", Cookie: "x", Flags: dist.FlagsDefault | flagsObsolete}, nil},
	} {
		_, err := New(tt.cfg)
		require.Error(t, err, what)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "new node", e.Op)
		if tt.want != nil {
			require.ErrorIs(t, err, tt.want, what)
		}
	}
}

// The zero Config: a hidden node with a dynamic name on the short host name, the cookie from the
// file (without one there is no node), over TCP, found through the port mapper. The numbers are
// OTP's, where OTP has such numbers.
func TestZeroConfig(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	_, err := New(Config{})
	require.ErrorIs(t, err, ErrNoCookie)
	require.NoError(t, os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte("secret"), 0o600))
	n := of(New(Config{})).must(t)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	require.Empty(t, n.Name())
	host := of(os.Hostname()).must(t)
	short, _, _ := strings.Cut(host, ".")
	require.Equal(t, short, n.cfg.Host)
	require.Equal(t, "secret", n.cfg.Cookie)
	require.Equal(t, transport.TCP().Name(), n.cfg.Transport.Name())
	require.Equal(t, &PortMapper{}, n.cfg.Resolver)
	require.Equal(t, dist.FlagsDefault, n.cfg.Flags)
	require.False(t, n.cfg.Flags.Has(dist.FlagPublished))
	require.Equal(t, 7*time.Second, n.cfg.HandshakeTimeout)
	require.Equal(t, 15*time.Second, n.cfg.TickInterval)
}

// A negative limit is an error: whoever wrote -1 did not mean the default.
func TestConfigOfNegativeLimits(t *testing.T) {
	for _, field := range strings.Fields("MaxHandshakes MaxFrame MaxCalls QueueLimit HandshakeTimeout TickInterval DrainTimeout") {
		cfg := Config{Name: "a@b", Cookie: "secret"}
		reflect.ValueOf(&cfg).Elem().FieldByName(field).SetInt(-1)
		_, err := New(cfg)
		require.ErrorContains(t, err, "Config."+field+" is -1")
	}
	n := newWorld(t, "memory").started("alice")
	_, err := n.NewMailbox(&MailboxOptions{Limit: -1})
	require.ErrorContains(t, err, "MailboxOptions.Limit is -1")
}

func TestStart(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	require.ErrorIs(t, n.Start(soon(t)), ErrStarted)
	require.NoError(t, n.Err())
	require.Len(t, n.Listeners(), 1)
	require.Equal(t, transport.MemoryAddr("alice@test"), n.Listeners()[0].Addr())
	require.NotNil(t, n.Whereis("rex"))
	require.NotNil(t, n.Whereis("net_kernel"))
	require.NoError(t, n.Close())
	require.ErrorIs(t, n.Start(soon(t)), ErrClosed)
	require.ErrorIs(t, n.Err(), ErrClosed)
	require.Empty(t, n.Listeners())
}

// A Start that fails leaves nothing behind: address and name are free.
func TestStartFails(t *testing.T) {
	w := newWorld(t, "memory")
	taken := w.started("alice")
	n := w.node("bob", func(cfg *Config) { cfg.Listen = taken.Listeners()[0].Addr() })
	require.ErrorIs(t, n.Start(w.ctx()), syscall.EADDRINUSE)
	require.ErrorIs(t, n.Err(), ErrClosed)
	again := n.Start(w.ctx())
	require.ErrorIs(t, again, ErrClosed)
	require.ErrorIs(t, again, syscall.EADDRINUSE, "why it is closed")
	require.ErrorContains(t, again, "make another one with New")

	ctx, cancel := context.WithCancel(w.ctx())
	cancel()
	require.ErrorIs(t, w.node("bob").Start(ctx), context.Canceled)

	n = w.node("bob", func(cfg *Config) { cfg.Listen = nil })
	require.ErrorContains(t, n.Start(w.ctx()), "Config.Listen is not set, and Config.Transport is for other addresses")

	why := errors.New("not today")
	n = w.node("bob", func(cfg *Config) { cfg.Setup = func(*Node) error { return why } })
	require.ErrorIs(t, n.Start(w.ctx()), why)
	_, err := taken.Connect(w.ctx(), "bob@test")
	require.ErrorIs(t, err, ErrUnknownNode)

	n = w.node("") // dynamic
	err = n.Start(w.ctx())
	require.ErrorIs(t, err, ErrUnnamed)
	require.ErrorContains(t, err, "start: ")

	w.started("bob")
}

// Messages that came on the lower level before Start are not lost, and stay in order.
func TestStartTakesOver(t *testing.T) {
	w := newWorld(t, "tcp")
	b, l := w.listening("bob")
	a := w.node("alice", func(cfg *Config) { cfg.Resolver = Static{"bob@test": {Addr: l.Addr()}} })
	ca, cb := w.join(a, b, l)
	there := registered(t, a, "there")
	n := 0
	send := func(count int) {
		for range count {
			require.NoError(t, cb.SendName(w.ctx(), "there", n))
			n++
		}
	}
	answered := make(chan struct{})
	answerCalls(t, cb, func(from ei.Pid, tag ei.Raw, _ ei.Tuple) {
		send(50)
		assert.NoError(t, cb.Send(w.ctx(), from, ei.Tuple{tag, ei.Atom("ok")}))
		close(answered)
	})
	of(ca.RPC(w.ctx(), "m", "f")).must(t) // reads, and keeps what it does not want
	<-answered
	require.NoError(t, a.Start(w.ctx()))
	send(50)
	for i := range 100 {
		require.Equal(t, ei.Int(i), term(t, there))
	}
}

// Identifiers of a node are all different, and carry its name and creation.
func TestIdentifiersAreAllDifferent(t *testing.T) {
	w := newWorld(t, "memory")
	a := w.node("alice")
	pids, refs := map[ei.Pid]bool{}, map[ei.Ref]bool{}
	a.ids.Pids.Store(1<<ids.PidBits - 500) // the serial takes over
	a.ids.Refs.Store(1<<50 - 500)
	for range 1000 {
		pid := of(a.NewPid()).must(t)
		require.Equal(t, ei.Atom("alice@test"), pid.Node)
		require.Equal(t, a.Creation(), pid.Creation)
		require.Less(t, pid.ID, uint32(1<<ids.PidBits))
		pids[pid] = true
		ref := of(a.NewRef()).must(t)
		require.Less(t, ref.ID[0], uint32(1<<18))
		require.Equal(t, a.Creation(), ref.Creation)
		refs[ref] = true
	}
	require.Len(t, pids, 1000)
	require.Len(t, refs, 1000)
	require.Greater(t, a.Creation(), uint32(3))

	d := w.node("")
	_, err := d.NewPid()
	require.ErrorIs(t, err, ErrUnnamed)
	_, err = d.NewRef()
	require.ErrorIs(t, err, ErrUnnamed)
	_, err = d.NewMailbox(nil)
	require.ErrorIs(t, err, ErrUnnamed)
	_, err = d.Listen(w.ctx(), w.addr("x"))
	require.ErrorIs(t, err, ErrUnnamed)
}

// Receive, in progress when the node is started, does not wait for a Handler that is told of the
// end of the connection.
func TestStartDuringReceive(t *testing.T) {
	w := newWorld(t, "tcp")
	a := w.node("") // gets its name with the connection
	b := w.started("bob")
	c := connect(t, a, b.Name())
	returned, told := make(chan struct{}), make(chan struct{})
	h := handle(t, a, "h", func(_ *Mailbox, m *Message) {
		if m.Op == dist.OpMonitorPExit {
			defer close(told)
			select {
			case <-returned:
			case <-w.ctx().Done():
			}
		}
	})
	monitor(t, h, box(t, b).Pid())
	go func() { defer close(returned); _, _ = c.Receive(context.Background()) }()
	require.Eventually(t, link.Within(&c.l).Reading, tooLong, tick)
	require.NoError(t, a.Start(w.ctx()))
	require.NoError(t, w.conn(b, a.Name()).Close())
	arrives(t, returned, "the end of Receive")
	arrives(t, told, "the end of the Handler")
}

// A process that was made before Start is too early, and the error says where to make it.
func TestMailboxBeforeStart(t *testing.T) {
	n := newWorld(t, "memory").node("alice")
	box(t, n)
	_, err := n.RPC(soon(t), n.Name(), "erlang", "date")
	require.ErrorIs(t, err, ErrNoProc)
	require.ErrorContains(t, err, "has not been started")
	err = n.Start(soon(t))
	require.ErrorIs(t, err, ErrTooLate)
	require.ErrorContains(t, err, "make them in Config.Setup")
}
