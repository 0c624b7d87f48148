package serve

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// beside starts a node with a peer in this process, and a connection to it that only the test
// reads.
func beside(t *testing.T) (*peer, *nodes.Conn) {
	const name = "served@127.0.0.1"
	at := nodes.Endpoint{Transport: transport.NewMemory(), Addr: transport.MemoryAddr(name)}
	n, err := nodes.New(nodes.Config{Name: name, Cookie: "cookie", Transport: at.Transport, Listen: at.Addr, Resolver: nodes.Static{}})
	require.NoError(t, err)
	require.NoError(t, n.Start(t.Context()))
	p, err := startPeer(n, slog.New(slog.DiscardHandler), nil, nil)
	require.NoError(t, err)
	client, err := nodes.New(nodes.Config{Name: "client@127.0.0.1", Cookie: "cookie", Resolver: nodes.Static{name: at}})
	require.NoError(t, err)
	c, err := client.Connect(t.Context(), name)
	require.NoError(t, err)
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		p.stop(now)
		require.NoError(t, client.Close())
		require.NoError(t, n.Close())
	})
	return p, c
}

// Answers to a client that does not read never stop the reader of its connection, however small
// they are.
func TestPeerTinyAnswers(t *testing.T) {
	for _, request := range []func(ei.Pid) ei.Tuple{
		func(from ei.Pid) ei.Tuple { return ei.Tuple{ei.Atom("echo"), from, ei.Int(1)} },
		func(from ei.Pid) ei.Tuple { return ei.Tuple{ei.Atom("sink"), from, ei.Atom("true"), ei.Int(1)} },
	} {
		_, c := beside(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for range 100_000 { // more than all queues in between have room for, both ways
			require.NoError(t, c.SendName(ctx, "peer", request(c.Self())))
		}
	}
}

// A client that makes up pids takes no more memory than countLimit allows; the messages of other
// pids are counted as before.
func TestPeerCountsAreBounded(t *testing.T) {
	_, c := beside(t)
	sink := func(number uint32, last ei.Atom) {
		from := c.Self()
		from.ID += number
		require.NoError(t, c.SendName(t.Context(), "peer", ei.Tuple{ei.Atom("sink"), from, last, ei.Int(1)}))
	}
	for number := range uint32(countLimit + 100) {
		sink(number, "false")
	}
	for number, count := range map[uint32]string{0: "{count,2}", countLimit - 1: "{count,2}", countLimit: "{count,1}",
		countLimit + 99: "{count,1}"} {
		sink(number, "true")
		m, err := c.Receive(t.Context())
		require.NoError(t, err)
		require.Equal(t, count, m.Payload.String(), "%d", number)
	}
}

// What a client has asked for in the name of others ends with its connection.
func TestPeerSourceEndsWithItsClient(t *testing.T) {
	p, c := beside(t)
	nobody := p.box.Pid()
	nobody.ID += 1000
	require.NoError(t, c.SendName(t.Context(), "peer", ei.Tuple{ei.Atom("source"), nobody, ei.Int(1 << 60), ei.Int(1)}))
	require.Eventually(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.working == 1 }, time.Minute, time.Millisecond)
	require.NoError(t, c.Close())
	rests(t, p)
}

// A peer that is told to send to itself does not wait for itself: what is too much is refused.
func TestPeerSendsToItself(t *testing.T) {
	p, c := beside(t)
	self := p.box.Pid()
	one := ei.Tuple{ei.Atom("echo"), self, ei.Binary(make([]byte, 100<<10))}
	some := ei.Tuple{ei.Atom("source"), self, ei.Int(50), one}
	require.NoError(t, c.SendName(t.Context(), "peer", ei.Tuple{ei.Atom("source"), self, ei.Int(100), some}))
	require.Eventually(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.lanes[nil] != nil && p.lanes[nil].told.Load() },
		time.Minute,
		time.Millisecond, "nothing is refused")
	rests(t, p)
}

// Calls that wait for a client that does not read count, too.
func TestPeerCallsTakeRoom(t *testing.T) {
	p, c := beside(t)
	big := ei.Binary(make([]byte, 1<<20))
	for range 5 {
		ref, err := c.Node().NewRef()
		require.NoError(t, err)
		require.NoError(t, c.SendName(t.Context(), "peer", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{c.Self(), ref}, big}))
	}
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, l := range p.lanes {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.bytes >= termSize<<20
		}
		return false
	}, time.Minute, time.Millisecond)
}

// rests waits until no lane works.
func rests(t *testing.T, p *peer) {
	t.Helper()
	select {
	case <-p.rest():
	case <-time.After(time.Minute):
		require.FailNow(t, "a lane works on")
	}
}

// What a process of another node gets is not what another node would refuse.
func TestPeerAnswersOthers(t *testing.T) {
	p, c := beside(t)
	other, err := p.node.NewMailbox(nil)
	require.NoError(t, err)
	emptyBits := ei.Raw{77, 0, 0, 0, 0, 0}
	for _, term := range []ei.Term{emptyBits, ei.Atom("good")} {
		require.NoError(t, c.SendName(t.Context(), "peer", ei.Tuple{ei.Atom("echo"), other.Pid(), term}))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := other.Receive(ctx)
	require.NoError(t, err)
	require.Equal(t, "good", m.Payload.String())
}
