package interop

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests with ergo v1.999.224, an implementation that shares nothing with ours or with OTP's, of
// the time of OTP 25: it has neither UNLINK_ID nor V4_NC, which OTP 26 and later demand and we do
// not, and both versions of the handshake.
//
// Only the handshake can be tested. Whatever was agreed, ergo writes and reads only frames with a
// distribution header: it drops frames without one, such as ours and those of the C library
// ("unknown/unsupported proto"), and its own are malformed to a peer that has not announced
// DFLAG_DIST_HDR_ATOM_CACHE. So messages, order, calls, links and monitors are left out. (It would
// not answer net_adm:ping anyway, as it has no net_kernel, nor remote calls, as it has no rex.)

// An ergoNode is a running node of ergo.
type ergoNode struct {
	*otp.Program
	commands io.Writer
}

func serveErgoNode(t *testing.T, port, version int) ergoNode {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(gonode.Environment(t, port), fmt.Sprintf("%s=%s %s %d", envErgo, uniqueName(), otp.DefaultCookie, version),
		"GORACE=exitcode=0 log_path="+os.DevNull)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { w.Close() })
	defer r.Close()
	cmd.Stdin = r
	return ergoNode{otp.Serve(t, cmd), w}
}

// do gives a command.
func (e ergoNode) do(t *testing.T, verb, peer string) {
	t.Helper()
	_, err := fmt.Fprintln(e.commands, verb, peer)
	require.NoError(t, err)
}

// mapper runs a port mapper of ours, and gives its port.
func mapper(t *testing.T) int {
	t.Helper()
	ls, err := epmd.Listen(background(t), "127.0.0.1:0")
	require.NoError(t, err)
	var server epmd.Server
	var serving sync.WaitGroup
	serving.Go(func() { assert.ErrorIs(t, server.Serve(ls[0]), epmd.ErrServerClosed) })
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		serving.Wait()
	})
	return ls[0].Addr().(*net.TCPAddr).Port
}

func TestErgoHandshake(t *testing.T) {
	needsWhole(t, "ergo has TLS of its own, not that of Erlang, and panics where a packet comes in pieces")
	t.Parallel()
	for _, version := range []int{dist.Version5, dist.Version6} {
		t.Run(fmt.Sprint("version", version), func(t *testing.T) {
			port := mapper(t)
			peer := serveErgoNode(t, port, version)
			// We connect.
			n := startNode(t, config(port))
			c, err := n.Connect(background(t), peer.Name)
			require.NoError(t, err)
			require.Equal(t, peer.Name, c.Peer().Name)
			require.False(t, c.Peer().Announced.Has(dist.FlagUnlinkID))
			b, err := n.NewMailbox(nil)
			require.NoError(t, err)
			require.NoError(t, b.MonitorNode(background(t), peer.Name))
			require.NoError(t, c.Close())
			require.Equal(t, "{nodedown,'"+peer.Name+"'}", receive(t, b))

			// It connects.
			other := startNode(t, config(port))
			peer.do(t, "connect", other.Name())
			require.Eventually(t, func() bool { return other.Conn(peer.Name) != nil }, limit, time.Millisecond)
			c = other.Conn(peer.Name)
			require.Equal(t, version, c.Peer().Version)

			// Neither does with another cookie.
			failed := make(chan error, 1)
			cfg := config(port)
			cfg.Cookie = "another"
			cfg.HandshakeFailed = func(_ transport.Addr, err error) { failed <- err }
			stranger := startNode(t, cfg)
			_, err = stranger.Connect(background(t), peer.Name)
			require.Error(t, err)
			peer.do(t, "connect", stranger.Name())
			require.ErrorIs(t, await(t, failed), dist.ErrBadCookie)

			peer.Kill()
			await(t, c.Done())
		})
	}
}

// ergo sends and reads frames with headers, and keeps an atom cache.
func TestErgoMessages(t *testing.T) {
	needsWhole(t, "ergo has TLS of its own, not that of Erlang, and panics where a packet comes in pieces")
	t.Parallel()
	port := mapper(t)
	peer := serveErgoNode(t, port, dist.Version6)
	n := startNode(t, config(port))
	box, err := n.NewMailbox(nil)
	require.NoError(t, err)
	require.NoError(t, n.Register(t.Context(), "box", box))
	peer.do(t, "connect", n.Name())
	require.Eventually(t, func() bool { return n.Conn(peer.Name) != nil }, limit, time.Millisecond)
	peer.do(t, "send", n.Name())
	require.Equal(t, "hello", receive(t, box))
	for i := range 50 {
		term := ei.Tuple{ei.Atom("first"), ei.Atom(fmt.Sprint("atom_", i%7)), ei.List{ei.Int(i), ei.Binary(make([]byte, i*100))}}
		require.NoError(t, box.SendName(background(t), peer.Name, "peer", ei.Tuple{box.Pid(), term}))
		m, err := box.Receive(background(t))
		require.NoError(t, err)
		got, err := m.Term()
		require.NoError(t, err)
		require.Equal(t, term, got)
	}
}

// ergo sends frames of a kind that was not agreed: its connection ends, with an error that says so,
// and nothing else ends.
func TestErgoFrames(t *testing.T) {
	needsWhole(t, "ergo has TLS of its own, not that of Erlang, and panics where a packet comes in pieces")
	t.Parallel()
	port := mapper(t)
	peer := serveErgoNode(t, port, dist.Version6)
	cfg := config(port)
	cfg.Flags = dist.FlagsDefault &^ (dist.FlagDistHdrAtomCache | dist.FlagFragments)
	n := startNode(t, cfg)
	box, err := n.NewMailbox(&nodes.MailboxOptions{TrapExit: true})
	require.NoError(t, err)
	require.NoError(t, n.Register(t.Context(), "box", box))
	// if we connected, ergo might not know of the connection yet when it is told to send
	peer.do(t, "connect", n.Name())
	require.Eventually(t, func() bool { return n.Conn(peer.Name) != nil }, limit, time.Millisecond)
	c := n.Conn(peer.Name)
	require.NoError(t, box.MonitorNode(background(t), peer.Name))
	peer.do(t, "send", n.Name())
	require.Equal(t, "{nodedown,'"+peer.Name+"'}", receive(t, box))
	var frame *dist.FrameError
	require.ErrorAs(t, c.Err(), &frame)
	require.ErrorIs(t, frame, protocol.ErrNotNegotiated)
	require.EqualValues(t, 1, n.Stats().Malformed)
	require.NoError(t, box.Send(background(t), box.Pid(), ei.Atom("alive")))
	require.Equal(t, "alive", receive(t, box))
}
