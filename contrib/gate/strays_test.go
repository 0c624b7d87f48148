package gate_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A slow way passes on what comes, but for the first bytes of one direction: these wait.
type slowWay struct {
	net.Listener
	waits chan struct{} // closed when they are there
	goOn  chan struct{} // to be closed
}

func newSlowWay(t *testing.T, to string, back bool) *slowWay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	w := &slowWay{l, make(chan struct{}), make(chan struct{})}
	go func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			return
		}
		slow, other := far, near
		if back {
			slow, other = near, far
		}
		go func() {
			_, _ = io.Copy(slow, other)
			_ = slow.(*net.TCPConn).CloseWrite()
		}()
		b := make([]byte, 64<<10)
		n, err := slow.Read(b)
		if err != nil {
			t.Error(err)
			return
		}
		close(w.waits)
		<-w.goOn
		if _, err := other.Write(b[:n]); err == nil {
			_, _ = io.Copy(other, slow)
		}
		_ = other.Close()
	}()
	return w
}

// at is a Resolver that knows one address.
type at struct{ nodes.Endpoint }

func (a at) Resolve(context.Context, string) (nodes.Endpoint, error) { return a.Endpoint, nil }

// connects has a Go node connect to the node inside, at addr, and gives what becomes of that.
func (w *world) connects(t *testing.T, addr net.Addr, tr transport.Transport) chan error {
	to, err := transport.ParseAddr(addr.String())
	require.NoError(t, err)
	n, err := nodes.New(nodes.Config{
		Name: w.outer.Name(), Cookie: "outer", Transport: tr, Resolver: at{nodes.Endpoint{Addr: to, Transport: tr}},
		HandshakeTimeout: otp.HandshakeTime,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = n.Close() })
	done := make(chan error, 1)
	go func() {
		_, err := n.Connect(t.Context(), w.inner.Name())
		if err == nil {
			var price ei.Term
			price, err = n.RPC(t.Context(), w.inner.Name(), "shop", "quote", ei.Int(1))
			if err == nil && price.String() != "{price,1}" {
				t.Error(price)
			}
		}
		done <- err
	}()
	return done
}

// A TLS handshake that is in progress while the gate moves is finished by the old process, and the
// next one goes on: its peer sees no error.
func TestMoveBesideTLSHandshake(t *testing.T) {
	t.Parallel()
	file := tlsFiles(t)
	r := otp.Releases(t)[0]
	w := newWorld(t, r, r)
	w.cfg.Outside.OptFile = file
	tr, err := tlstransport.FromOptFile(file, nil)
	require.NoError(t, err)
	g := w.start(t, nil)
	way := newSlowWay(t, g.Addr(w.inner.Name()).String(), false) // the gate's part of TLS waits
	connected := w.connects(t, way.Addr(), tr)
	expect.Returns(t, way.waits)
	next, given := w.takes(t, g, otp.Log(t, "next gate"))
	third, givenAgain := w.takes(t, next, otp.Log(t, "next gate"))
	require.Empty(t, third.Sessions())
	close(way.goOn)
	require.NoError(t, expect.Returns(t, connected))
	require.Len(t, third.Sessions(), 1)
	given()
	givenAgain()
	require.NoError(t, third.Close())
}

// A handshake in which the gate has spoken comes to its end before the gate moves, if that does not
// take long.
func TestMoveBesideHandshake(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)[0]
	w := newWorld(t, r, r)
	g := w.start(t, &gate.Options{})
	defer func() { require.NoError(t, g.Close()) }()
	way := newSlowWay(t, g.Addr(w.inner.Name()).String(), false) // the gate's status waits
	connected := w.connects(t, way.Addr(), transport.TCP())
	expect.Returns(t, way.waits)
	w.reached = func(p handoffpoint.Point) {
		if p == handoffpoint.OwnerFreezes {
			close(way.goOn)
		}
	}
	g, _ = w.moves(t, g)
	require.NoError(t, expect.Returns(t, connected))
	require.Len(t, g.Sessions(), 1)
}

// What was counted goes on when a gate moves, but for rules that are others now; connections that
// were there are not told as new.
func TestMoveGoesOn(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)[0]
	w := newWorld(t, r, r)
	g := w.start(t, nil)
	require.Equal(t, "{price,1}", w.ask(t, "erpc:call(IN, shop, quote, [1])"))
	require.Equal(t, "{rang,beer}", w.ask(t, "gen_server:call({till, IN}, beer)"))
	require.Contains(t, w.ask(t, "catch erpc:call(IN, shop, refund, [1])"), "eacces")
	before := g.Stats()
	require.Equal(t, []int64{1, 2, 1}, before.Rules, "the second for a monitor")
	w.cfg.Rules = slices.Clone(w.cfg.Rules)
	w.cfg.Rules[1].Op |= gate.MaySend
	w.cfg.Rules = append(w.cfg.Rules, gate.Rule{Op: gate.MayLink, Target: "nobody", Allow: true})
	var log strings.Builder
	next, given := w.takes(t, g, slog.New(slog.NewTextHandler(&log, nil)))
	given()
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), `msg="goes on in place of another process" connections=1`)
	after := next.Stats()
	require.Equal(t, []int64{1, 0, 0, 1}, after.Rules)
	after.Rules, before.Rules = nil, nil
	require.Equal(t, before, after)
	require.NoError(t, next.Close())
}

// A process that cannot go on as the gate says why; the gate tells it, and goes on.
func TestMoveRefused(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)[0]
	w := newWorld(t, r, r)
	g := w.start(t, nil)
	defer func() { require.NoError(t, g.Close()) }()
	require.Equal(t, "{price,1}", w.ask(t, "erpc:call(IN, shop, quote, [1])"))
	faulty := *w.cfg
	faulty.Outside.PortMapper = "127.0.0.1"
	why := errors.New("no such file")
	for want, take := range map[string]func(*handoff.Channel) error{
		`outside: port_mapper: "127.0.0.1": want host:port`: func(ch *handoff.Channel) error {
			_, err := gate.Take(t.Context(), ch, &faulty, nil)
			require.ErrorIs(t, err, gate.ErrConfig)
			return err
		},
		"no such file": func(ch *handoff.Channel) error {
			err := gate.Refuse(t.Context(), ch, why)
			require.ErrorIs(t, err, why)
			return err
		},
	} {
		ours, theirs, err := handoff.ChannelPair()
		require.NoError(t, err)
		other, err := handoff.FileChannel(theirs)
		require.NoError(t, err)
		refused := make(chan error, 1)
		go func() { refused <- take(other) }()
		h, err := g.Give(t.Context(), ours)
		require.False(t, h.Moved)
		require.ErrorContains(t, err, want)
		require.Zero(t, h.Silence, "nothing stood still")
		require.ErrorContains(t, expect.Returns(t, refused), want)
		require.Equal(t, "{price,1}", w.ask(t, "erpc:call(IN, shop, quote, [1])"))
	}
}
