package nodes

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

func tableSize(n *Node) int { return n.peers.Size() }

// Many goroutines of one node connect to the same peer: there is one connection, and all get it.
func TestConcurrentConnect(t *testing.T) {
	w := newWorld(t, "tcp")
	b := w.started("bob")
	a := w.node("alice")
	results := make(chan result[*Conn], 50)
	for range cap(results) {
		go func() { results <- of(a.Connect(w.ctx(), "bob@test")) }()
	}
	var c *Conn
	for range cap(results) {
		r := arrives(t, results, "a connection").must(t)
		if c == nil {
			c = r
		}
		require.Same(t, c, r)
	}
	require.NotNil(t, c)
	for _, n := range []*Node{a, b} {
		require.Eventually(t, func() bool { return n.Stats().Connections == 1 }, tooLong, tick)
	}
}

// The peer gives way, but then never connects: the attempt is made again.
func TestConnectAfterNok(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		at := w.ambush("bob@test")
		a := w.node("alice")
		connected := async(func() (*Conn, error) { return a.Connect(context.Background(), "bob@test") })
		p := at.accept()
		require.ErrorIs(t, p.Respond(role("bob@test"), protocol.StatusNok), dist.ErrNok)
		p.Close()
		p = at.accept()
		require.NoError(t, p.Respond(role("bob@test"), protocol.StatusOK))
		require.NoError(t, (<-connected).err)

		// The peer never connects: the handshake's time ends the attempt, and the error says why.
		begin := time.Now()
		w.ambush("carol@test").refuse(protocol.StatusNok)
		_, err := a.Connect(context.Background(), "carol@test")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, DefaultHandshakeTimeout, time.Since(begin))
		require.Equal(t, 1, tableSize(a))
	})
}

// When both sides connect at the same time, that one of the attempts gives way is nothing to warn
// of.
func TestNokIsNoWarning(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		log := new(record)
		zoe := w.started("zoe", logsTo(log))
		at := w.ambush("alice@test")
		connected := async(func() (*Conn, error) { return zoe.Connect(context.Background(), "alice@test") })
		p := at.accept()
		require.ErrorIs(t, w.wire(zoe.Listeners()[0]).Initiate(role("alice@test")), dist.ErrNok)
		require.NoError(t, p.Respond(role("alice@test"), protocol.StatusOK))
		require.NoError(t, (<-connected).err)
		mallory := role("mallory@test")
		mallory.Cookie = "wrong"
		require.Error(t, w.wire(zoe.Listeners()[0]).Initiate(mallory))
		synctest.Wait()
		require.EqualValues(t, 2, zoe.Stats().HandshakesFailed)
		require.Len(t, log.Lines("handshake failed"), 1)
		require.Len(t, log.Lines("handshake failed", "mallory"), 1)
	})
}

// refuse answers every connection with a status, until the test ends.
func (a *ambush) refuse(status dist.Status) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	a.w.t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for {
			s, err := a.l.Accept(ctx)
			if err != nil {
				return
			}
			p := newWire(a.w.t, s)
			_ = p.Respond(role(a.name), status)
			p.Close()
		}
	}()
}
