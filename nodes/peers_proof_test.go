package nodes

import (
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
	arrives(t, connected, "the connection").must(t)
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
	c := of(packets.New(ctx, p.S)).must(w.t)
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
		_, slow, n, connected := setup(t, func(c *Config) { c.Resolver = hangs{&book{at: Static{}}} })
		require.Eventually(t, func() bool {
			return n.peers.Look("alice@test").Ours != peers.None
		}, tooLong, tick)
		close(slow.proceed)
		require.NoError(t, arrives(t, slow.over, "the peer's own").err)
		r := arrives(t, connected, "the connection").must(t)
		require.False(t, r.l.Record().Initiated)
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
		r := arrives(t, connected, "the connection").must(t)
		require.False(t, r.l.Record().Initiated)
		require.NoError(t, r.Err())
	})
	t.Run("between", func(t *testing.T) { // it has our proof by then
		a, slow, n, connected := setup(t)
		ours := a.accept()
		proven := make(chan struct{})
		other := ours.responds("alice@test", protocol.StatusOKSimultaneous, func() error { <-proven; return nil })
		require.Eventually(t, func() bool {
			return n.peers.Look("alice@test").Ours == peers.Committed
		}, tooLong, tick)
		close(slow.proceed)
		require.Error(t, arrives(t, slow.over, "the peer's own").err)
		close(proven)
		require.NoError(t, arrives(t, other, "ours").err)
		r := arrives(t, connected, "the connection").must(t)
		require.True(t, r.l.Record().Initiated)
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
	refuses := make(chan struct{})
	refused := ours.responds("bob@test", protocol.StatusOK, func() error { <-refuses; return ErrSuperseded })
	stage := func() peers.Stage { return n.peers.Look("bob@test").Ours }
	require.Eventually(t, func() bool { return stage() == peers.Committed }, tooLong, tick)
	theirs := w.reticent(n.Listeners()[0], "bob@test")
	close(refuses)
	require.ErrorIs(t, arrives(t, refused, "our attempt").err, ErrSuperseded)
	require.NoError(t, ours.S.Close())
	require.Eventually(t, func() bool { return stage() == peers.None }, tooLong, tick)
	close(theirs.proceed)
	require.NoError(t, arrives(t, theirs.over, "the peer's own").err)
	r := arrives(t, connected, "the connection").must(t)
	require.False(t, r.l.Record().Initiated)
}

// responds does the handshake as the node that is connected to; proven says what it makes of ours.
func (p *wire) responds(name string, status dist.Status, proven func() error) <-chan result[dist.Peer] {
	return async(func() (dist.Peer, error) {
		c, err := packets.New(soon(p.T), p.S)
		if err != nil {
			return dist.Peer{}, err
		}
		who, err := protocol.ReadName(c)
		if err != nil {
			return dist.Peer{}, err
		}
		decide := func(protocol.Name) (protocol.Verdict, error) { return protocol.Verdict{Status: status}, nil }
		return protocol.Respond(c, role(name), who, protocol.RespondOptions{Decide: decide, Proven: proven})
	})
}

// Of two attempts of one peer the one that was accepted later counts, whichever is finished first.
func TestLateNameOfEarlierAttempt(t *testing.T) {
	w := newWorld(t, "tcp")
	failed, hear := failures()
	b := w.started("bob", hear)
	l := b.Listeners()[0]
	first, second := w.wire(l), w.begun(l, "wire@test")
	second.packet() // status
	challenge := second.packet()
	require.NoError(t, first.Initiate(role("wire@test")))
	c := w.conn(b, "wire@test")
	second.prove(challenge)
	require.ErrorIs(t, ended(t, c), ErrSuperseded)
	first.Gone()
	w.conn(b, "wire@test")
	require.Empty(t, failed)
}

// A begun peer has said its name, and goes on packet by packet.
type begun struct {
	*wire
	c *packets.Conn
}

func (w *world) begun(l *Listener, name string) *begun {
	w.t.Helper()
	p := w.wire(l)
	c := of(packets.New(w.ctx(), p.S)).must(w.t)
	require.NoError(w.t, c.WritePackets(namePacket(w.t, name)[2:])) // without its length
	return &begun{p, c}
}

// packet is the next one that the node sends.
func (p *begun) packet() string {
	p.T.Helper()
	return string(of(p.c.ReadPacket()).must(p.T))
}

// prove answers a challenge, and waits until the answer is acknowledged.
func (p *begun) prove(challenge string) {
	p.T.Helper()
	digest := protocol.Digest("secret", of(protocol.ParseChallenge([]byte(challenge))).must(p.T).Challenge)
	require.NoError(p.T, p.c.WritePackets(protocol.AppendReply(nil, protocol.Reply{Challenge: 1, Digest: digest})))
	p.packet()
}

// Strangers who use a peer's name do not interrupt its handshake, whether or not there is a
// connection already.
func TestStrangersBesidePeer(t *testing.T) {
	w := newWorld(t, "tcp")
	b := w.started("bob")
	l := b.Listeners()[0]
	var before *Conn
	for _, status := range []string{"sok", "salive"} {
		p := w.begun(l, "wire@test")
		require.Equal(t, status, p.packet())
		require.Equal(t, status, w.begun(l, "wire@test").packet(), "a stranger is told the same")
		if status == "salive" {
			require.NoError(t, p.c.WritePackets([]byte("strue")))
		}
		challenge := p.packet()
		require.Equal(t, status, w.begun(l, "wire@test").packet())
		p.prove(challenge)
		require.Eventually(t, func() bool { c := b.Conn("wire@test"); return c != nil && c != before }, tooLong, tick)
		before = b.Conn("wire@test")
	}
}
