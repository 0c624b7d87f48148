package cnodequic_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	cnodequic "github.com/cnode-go/cnode/contrib/quic"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// Calls, a large message, a monitor, ticks, and the end of a connection; it cannot move.
func TestNodes(t *testing.T) {
	a, table := newAuthority(t), nodes.Static{}
	one := start(t, "a@127.0.0.1", a.carried(t, "a@127.0.0.1", quickly), table, ticksQuickly)
	two := start(t, "b@127.0.0.1", a.carried(t, "b@127.0.0.1", quickly), table, ticksQuickly)
	calls(t, one, "b@127.0.0.1", ei.Tuple{ei.Atom("hello"), ei.Int(1)})
	calls(t, two, "a@127.0.0.1", ei.Binary(bytes.Repeat([]byte("0123456789abcdef"), 1<<20)))

	box, err := one.NewMailbox(nil)
	require.NoError(t, err)
	watched, err := two.NewMailbox(nil)
	require.NoError(t, err)
	ctx := expect.Context(t)
	ref, err := box.Monitor(ctx, watched.Pid())
	require.NoError(t, err)

	conn := one.Conn("b@127.0.0.1")
	select { // ticks alone keep it
	case <-conn.Done():
		require.NoError(t, conn.Err(), "idle")
	case <-time.After(2 * tickTime):
	}
	_, err = conn.Freeze(ctx)
	var unmovable *nodes.NotMovableError
	require.ErrorAs(t, err, &unmovable)
	require.Equal(t, "quic", unmovable.Plugin)
	calls(t, one, "b@127.0.0.1", ei.Atom("after"))

	watched.Exit(ei.Atom("bye"))
	m, err := box.Receive(ctx)
	require.NoError(t, err)
	require.Equal(t, dist.OpMonitorPExit, m.Op)
	require.Equal(t, ref, m.Ref)

	require.NoError(t, two.Close())
	<-conn.Done()
	require.ErrorIs(t, conn.Err(), io.EOF)
}

// Each certificate that is not to be let in is refused by a typed error, on the side that learns of
// it, and the peer's name is bound to its certificate.
func TestWrongCertificate(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	strange := stranger.both(t, "b@127.0.0.1")
	strange.RootCAs = a.pool
	trusting := a.both(t, "a@127.0.0.1")
	trusting.RootCAs = stranger.pool
	server, client := a.both(t, "a@127.0.0.1"), a.both(t, "b@127.0.0.1")
	for name, c := range map[string]struct {
		server, client cnodequic.Config
		check          tlstransport.Failure
		byPeer         bool
	}{
		"client of another authority": {config(server), config(strange), tlstransport.FailureUnknownAuthority, true},
		"server of another authority": {config(server), config(trusting), tlstransport.FailureUnknownAuthority, false},
		"expired": {
			config(a.both(t, "a@127.0.0.1", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })), config(client),
			tlstransport.FailureExpired, false,
		},
		"for another host": {
			config(a.both(t, "a@127.0.0.1", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} })), config(client),
			tlstransport.FailureHost, false,
		},
		"for another node": {
			config(a.both(t, "other@127.0.0.1")), config(client),
			tlstransport.FailureAllowed, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := nodes.Static{}
			start(t, "a@127.0.0.1", over(t, c.server), table)
			n := start(t, "b@127.0.0.1", over(t, c.client), table)
			_, err := n.Connect(expect.Context(t), "a@127.0.0.1")
			var refused *tlstransport.PeerError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, c.check, refused.Failure, "%v", err)
			require.Equal(t, c.byPeer, refused.ByPeer, "%v", err)
			require.True(t, refused.Client)
			require.Equal(t, "a@127.0.0.1", refused.Node)
			require.NotErrorIs(t, err, net.ErrClosed)
			if !c.byPeer && c.check == tlstransport.FailureUnknownAuthority {
				require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
			}
		})
	}
}

// The server refuses a client whose name is not in its certificate.
func TestClientOfAnotherName(t *testing.T) {
	a, table := newAuthority(t), nodes.Static{}
	failed := make(chan error, 1)
	start(t, "a@127.0.0.1", a.carried(t, "a@127.0.0.1"), table, func(c *nodes.Config) {
		c.HandshakeFailed = func(_ transport.Addr, err error) { failed <- err }
	})
	n := start(t, "b@127.0.0.1", a.carried(t, "c@127.0.0.1"), table)
	_, err := n.Connect(expect.Context(t), "a@127.0.0.1")
	require.Error(t, err)
	err = expect.Returns(t, failed)
	require.ErrorIs(t, err, tlstransport.ErrNotAllowed)
	require.ErrorContains(t, err, "b@127.0.0.1")
}

// A peer that is killed is noticed within the tick time, whichever end it is.
func TestKilled(t *testing.T) {
	for _, role := range []string{"server", "client"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			a, table := newAuthority(t), nodes.Static{}
			n := start(t, "a@127.0.0.1", a.carried(t, "a@127.0.0.1", quickly), table, ticksQuickly)
			ctx := expect.Context(t)
			connectTo := ""
			if role == "client" {
				connectTo = n.Listeners()[0].Addr().String()
			}
			cmd, at := a.startOther(t, connectTo)
			if role == "server" {
				table["other@127.0.0.1"] = nodes.Endpoint{Addr: at}
				_, err := n.Connect(ctx, "other@127.0.0.1")
				require.NoError(t, err)
			}
			for e := range n.WatchNodes(ctx) {
				if e.Up {
					break
				}
			}
			conn := n.Conn("other@127.0.0.1")
			require.NoError(t, cmd.Process.Kill())
			expect.Returns(t, conn.Done())
			err := conn.Err()
			require.True(t, errors.Is(err, nodes.ErrTickTimeout) || errors.Is(err, syscall.ETIMEDOUT), "%v", err)
		})
	}
}

// Without a node above, the connection itself notices.
func TestSilence(t *testing.T) {
	a := newAuthority(t)
	cmd, at := a.startOther(t, "")
	tr := a.carried(t, "a@127.0.0.1", quickly)
	s, err := tr.Connect(expect.Context(t), at)
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, cmd.Process.Kill())
	_, err = s.Read(expect.Context(t), make([]byte, 1))
	require.ErrorIs(t, err, syscall.ETIMEDOUT)
	require.NotErrorIs(t, err, net.ErrClosed)
}
