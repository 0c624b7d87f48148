package nodes

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/protocol/packets"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/transport"
)

// An impostor under the name of the node that we connect to, without the cookie, does not keep us
// from connecting.
func TestConnectDespiteImpostor(t *testing.T) {
	w := newWorld(t, "memory")
	at := w.ambush("bob@test")
	failed, hear := failures()
	a, l := w.listening("alice", hear)
	accepted := async(func() (*Conn, error) { return l.Accept(w.ctx()) })
	connected := async(func() (*Conn, error) { return a.Connect(w.ctx(), "bob@test") })
	first := at.accept()
	impostor := role("bob@test")
	impostor.Cookie = "guess"
	require.Error(t, w.wire(l).Initiate(impostor))
	require.ErrorIs(t, arrives(t, failed, "the impostor's end"), dist.ErrBadCookie)
	require.NoError(t, first.Respond(role("bob@test"), protocol.StatusOK), "alice has not given it up")
	r := arrives(t, connected, "the connection")
	require.NoError(t, r.err)
	require.NoError(t, l.Close())
	<-accepted
}

// Nor does one that says its name and then nothing more.
func TestConnectDespiteSilence(t *testing.T) {
	for _, alive := range []string{"alice", "carol"} { // either order of names
		w := newWorld(t, "memory")
		at := w.ambush("bob@test")
		a, l := w.listening(alive)
		accepted := async(func() (*Conn, error) { return l.Accept(w.ctx()) })
		w.reticent(l, "bob@test")
		connected := async(func() (*Conn, error) { return a.Connect(w.ctx(), "bob@test") })
		require.NoError(t, at.accept().Respond(role("bob@test"), protocol.StatusOK))
		require.NoError(t, arrives(t, connected, "the connection").err)
		require.NoError(t, l.Close())
		<-accepted
	}
}

// A reticent peer withholds its proof until proceed is closed.
type reticent struct {
	*wire
	proceed chan struct{}
	over    <-chan result[dist.Peer]
}

func (w *world) reticent(l *Listener, name string) *reticent {
	w.t.Helper()
	p := &reticent{wire: w.wire(l), proceed: make(chan struct{})}
	ctx := soon(w.t)
	c, err := packets.New(ctx, p.S)
	require.NoError(w.t, err)
	challenged := make(chan struct{})
	p.over = async(func() (dist.Peer, error) {
		return protocol.Initiate(c, role(name), protocol.InitiateOptions{CheckPeer: func(string) error {
			close(challenged)
			select {
			case <-p.proceed:
			case <-ctx.Done():
			}
			return ctx.Err()
		}})
	})
	arrives(w.t, challenged, "the challenge")
	return p
}

// A peer is slow to connect, and we connect to it meanwhile: one of the two attempts succeeds, the
// same one for both sides, and the other one never does.
func TestConnectBesideSlowPeer(t *testing.T) {
	t.Parallel() // it waits
	setup := func(t *testing.T, edit ...func(*Config)) (a *ambush, slow *reticent, n *Node, connected <-chan result[*Conn]) {
		w := newWorld(t, "memory")
		a = w.ambush("alice@test")
		n = w.started("bob", edit...) // to whom alice gives way
		slow = w.reticent(n.Listeners()[0], "alice@test")
		return a, slow, n, async(func() (*Conn, error) { return n.Connect(w.ctx(), "alice@test") })
	}
	t.Run("first", func(t *testing.T) { // it proves itself before it has our name
		_, slow, n, connected := setup(t, func(c *Config) { c.Resolver = &hangingBook{c.Resolver.(*book)} })
		require.Eventually(t, func() bool {
			return n.peers.Look("alice@test").Ours != peers.None
		}, tooLong, tick)
		close(slow.proceed)
		require.NoError(t, arrives(t, slow.over, "the peer's own").err)
		r := arrives(t, connected, "the connection")
		require.NoError(t, r.err)
		require.False(t, r.v.l.Record().Initiated)
		require.NoError(t, n.Conn("alice@test").Err())
	})
	// for the peer the connection is up; here it cannot come up before the node goes on
	t.Run("at the door", func(t *testing.T) {
		w := newWorld(t, "memory")
		a := w.ambush("alice@test")
		n := w.started("bob")
		slow := w.reticent(n.Listeners()[0], "alice@test")
		n.life.Set(life.Draining)
		close(slow.proceed)
		require.NoError(t, arrives(t, slow.over, "the peer's own").err)
		connected := async(func() (*Conn, error) { return n.Connect(w.ctx(), "alice@test") })
		dialled := async(func() (*transport.Stream, error) { return a.l.Accept(w.ctx()) })
		select {
		case <-dialled:
			require.Fail(t, "dialled beside it")
		case <-time.After(2 * nokPause):
		}
		n.life.Set(life.Open)
		r := arrives(t, connected, "the connection")
		require.NoError(t, r.err)
		require.False(t, r.v.l.Record().Initiated)
		require.NoError(t, r.v.Err())
	})
	// it may have read our name, and given way, when its proof comes
	t.Run("crossing", func(t *testing.T) {
		a, slow, n, connected := setup(t)
		ours := a.accept()
		require.Eventually(t, func() bool {
			return n.peers.Look("alice@test").Ours == peers.Named
		}, tooLong, tick)
		close(slow.proceed)
		require.Error(t, arrives(t, slow.over, "the peer's own").err)
		require.NoError(t, ours.Respond(role("alice@test"), protocol.StatusOKSimultaneous))
		r := arrives(t, connected, "the connection")
		require.NoError(t, r.err)
		require.True(t, r.v.l.Record().Initiated)
		require.NoError(t, n.Conn("alice@test").Err())
	})
	t.Run("second", func(t *testing.T) {
		a, slow, n, connected := setup(t)
		require.NoError(t, a.accept().Respond(role("alice@test"), protocol.StatusOKSimultaneous))
		r := arrives(t, connected, "the connection")
		require.NoError(t, r.err)
		require.True(t, r.v.l.Record().Initiated)
		close(slow.proceed)
		require.Error(t, arrives(t, slow.over, "the peer's own").err)
		require.Same(t, r.v, n.Conn("alice@test"))
	})
	t.Run("between", func(t *testing.T) { // it has our proof by then
		a, slow, n, connected := setup(t)
		ours := a.accept()
		c, err := packets.New(soon(t), ours.S)
		require.NoError(t, err)
		proven := make(chan struct{})
		other := async(func() (dist.Peer, error) {
			who, err := protocol.ReadName(c)
			if err != nil {
				return dist.Peer{}, err
			}
			return protocol.Respond(c, role("alice@test"), who, protocol.RespondOptions{
				Decide: func(protocol.Name) (protocol.Verdict, error) {
					return protocol.Verdict{Status: protocol.StatusOKSimultaneous}, nil
				},
				Proven: func() error { <-proven; return nil },
			})
		})
		require.Eventually(t, func() bool {
			return n.peers.Look("alice@test").Ours == peers.Committed
		}, tooLong, tick)
		close(slow.proceed)
		require.Error(t, arrives(t, slow.over, "the peer's own").err)
		close(proven)
		require.NoError(t, arrives(t, other, "ours").err)
		r := arrives(t, connected, "the connection")
		require.NoError(t, r.err)
		require.True(t, r.v.l.Record().Initiated)
	})
}

// A peer that refuses our attempt, after our proof, for one of its own to which ours gives way:
// Connect waits for that one.
func TestConnectRefusedForPeersOwn(t *testing.T) {
	w := newWorld(t, "memory")
	at := w.ambush("bob@test")
	n := w.started("alice")
	connected := async(func() (*Conn, error) { return n.Connect(w.ctx(), "bob@test") })
	ours := at.accept()
	c, err := packets.New(soon(t), ours.S)
	require.NoError(t, err)
	refuses := make(chan struct{})
	refused := async(func() (dist.Peer, error) {
		who, err := protocol.ReadName(c)
		if err != nil {
			return dist.Peer{}, err
		}
		return protocol.Respond(c, role("bob@test"), who, protocol.RespondOptions{
			Decide: func(protocol.Name) (protocol.Verdict, error) { return protocol.Verdict{Status: protocol.StatusOK}, nil },
			Proven: func() error { <-refuses; return ErrSuperseded },
		})
	})
	stage := func() peers.Stage { return n.peers.Look("bob@test").Ours }
	require.Eventually(t, func() bool { return stage() == peers.Committed }, tooLong, tick)
	theirs := w.reticent(n.Listeners()[0], "bob@test")
	close(refuses)
	require.ErrorIs(t, arrives(t, refused, "our attempt").err, ErrSuperseded)
	require.NoError(t, ours.S.Close())
	require.Eventually(t, func() bool { return stage() == peers.None }, tooLong, tick)
	close(theirs.proceed)
	require.NoError(t, arrives(t, theirs.over, "the peer's own").err)
	r := arrives(t, connected, "the connection")
	require.NoError(t, r.err)
	require.False(t, r.v.l.Record().Initiated)
}

// A hangingBook does not answer before its caller gives up.
type hangingBook struct{ *book }

func (*hangingBook) Resolve(ctx context.Context, _ string) (Endpoint, error) {
	<-ctx.Done()
	return Endpoint{}, context.Cause(ctx)
}

// Of two attempts of one peer the one that was accepted later counts, whichever is finished first.
func TestLateNameOfEarlierAttempt(t *testing.T) {
	w := newWorld(t, "tcp")
	failed, hear := failures()
	b := w.started("bob", hear)
	l := b.Listeners()[0]
	name, err := protocol.AppendName(nil, protocol.Name{Version: 6, Flags: dist.FlagsDefault, Creation: 77, Name: "wire@test"})
	require.NoError(t, err)
	first, second := w.wire(l), w.wire(l)
	packets, err := packets.New(w.ctx(), second.S)
	require.NoError(t, err)
	require.NoError(t, packets.WritePackets(name))
	_, err = packets.ReadPacket() // status
	require.NoError(t, err)
	challenge, err := packets.ReadPacket()
	require.NoError(t, err)
	m, err := protocol.ParseChallenge(challenge)
	require.NoError(t, err)

	require.NoError(t, first.Initiate(role("wire@test")))
	var c *Conn
	require.Eventually(t, func() bool { c = b.Conn("wire@test"); return c != nil }, tooLong, tick)
	require.NoError(t, packets.WritePackets(protocol.AppendReply(nil,
		protocol.Reply{Challenge: 1, Digest: protocol.Digest("secret", m.Challenge)})))
	_, err = packets.ReadPacket() // acknowledgement
	require.NoError(t, err)
	require.ErrorIs(t, ended(t, c), ErrSuperseded)
	first.Gone()
	require.Eventually(t, func() bool { return b.Conn("wire@test") != nil }, tooLong, tick)
	require.Empty(t, failed)
}

// Strangers who use a peer's name do not interrupt its handshake, whether or not there is a
// connection already.
func TestStrangersBesidePeer(t *testing.T) {
	w := newWorld(t, "tcp")
	b := w.started("bob")
	l := b.Listeners()[0]
	name, err := protocol.AppendName(nil, protocol.Name{Version: 6, Flags: dist.FlagsDefault, Creation: 77, Name: "wire@test"})
	require.NoError(t, err)
	begin := func() *packets.Conn {
		p, err := packets.New(w.ctx(), w.wire(l).S)
		require.NoError(t, err)
		require.NoError(t, p.WritePackets(name))
		return p
	}
	read := func(p *packets.Conn) []byte {
		packet, err := p.ReadPacket()
		require.NoError(t, err)
		return slices.Clone(packet)
	}
	var before *Conn
	for _, status := range []string{"sok", "salive"} {
		p := begin()
		require.Equal(t, status, string(read(p)))
		require.Equal(t, status, string(read(begin())), "a stranger is told the same")
		if status == "salive" {
			require.NoError(t, p.WritePackets([]byte("strue")))
		}
		m, err := protocol.ParseChallenge(read(p))
		require.NoError(t, err)
		require.Equal(t, status, string(read(begin())))
		require.NoError(t, p.WritePackets(protocol.AppendReply(nil,
			protocol.Reply{Challenge: 1, Digest: protocol.Digest("secret", m.Challenge)})))
		read(p) // acknowledgement
		require.Eventually(t, func() bool { c := b.Conn("wire@test"); return c != nil && c != before }, tooLong, tick)
		before = b.Conn("wire@test")
	}
}
