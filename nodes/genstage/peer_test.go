package genstage

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/nodestest"
	"github.com/cnode-go/cnode/transport"
)

// A seller is a producer whose function gives count events, each of size bytes.
func seller(t testing.TB, n *nodes.Node, o *ProducerOptions, count, size int) *Producer {
	t.Helper()
	var given atomic.Int64
	p, err := Produce(n, "prices", o, func(ctx context.Context, _ int) ([][]byte, error) {
		if int(given.Add(1)) <= count {
			return [][]byte{make([]byte, size)}, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

func mailbox(t testing.TB, n *nodes.Node, o *nodes.MailboxOptions) *nodes.Mailbox {
	t.Helper()
	b := cluster.Mailbox(t, n, o)
	t.Cleanup(func() { b.Close() })
	return b
}

// says has a process say something to the producer, in the name of from.
func says(t testing.TB, b *nodes.Mailbox, p *Producer, from ei.Pid, tag, what ei.Term) {
	t.Helper()
	require.NoError(t, b.Send(expect.Context(t), p.Pid(), ei.Tuple{toProducer, ei.Tuple{from, tag}, what}))
}

var subscribing = ei.Tuple{subscribeOrder, elixirNil, ei.List{}}

// hears is what a process is told under a tag.
func hears(t *testing.T, b *nodes.Mailbox, tag ei.Term) string {
	t.Helper()
	return ei.Brief(told(t, b, tag), 100)
}

func told(t *testing.T, b *nodes.Mailbox, tag ei.Term) ei.Term {
	t.Helper()
	v := cluster.Receive(t, b)
	said := v.(ei.Tuple)
	require.Equal(t, tag, said[1].(ei.Tuple)[1])
	return said[2]
}

// knows waits until the producer has dealt with what the process has said before.
func knows(t testing.TB, b *nodes.Mailbox, p *Producer) {
	t.Helper()
	_, err := b.Call(expect.Context(t), p.Pid(), ei.Atom("$estimate_buffered_count"))
	require.NoError(t, err)
}

// adds up checks what the producer counts.
func addsUp(t *testing.T, p *Producer) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	sum, stuck, spent := int64(0), 0, map[string]int{}
	gone := map[*consumer]bool{} // those that have something waiting
	for _, w := range p.ways {
		require.True(t, w.count > 0 || len(w.waiting) > 0)
		if len(w.waiting) > 0 {
			stuck += w.count
		}
		for _, e := range w.waiting {
			if p.consumers[e.c.key] != e.c && !gone[e.c] {
				gone[e.c] = true
				spent[e.c.asker] += e.c.spent
			}
		}
	}
	for key, c := range p.consumers {
		require.Equal(t, key, c.key)
		require.Contains(t, p.of(c.pid), c)
		require.Equal(t, len(c.way.waiting) == 0, c.place >= 0)
		if c.place >= 0 {
			require.Same(t, c, p.ready.list[c.place])
			sum += c.demand
		}
		spent[c.asker] += c.spent
	}
	require.Equal(t, sum, p.ready.sum)
	require.Len(t, p.ready.list, len(p.consumers)-stuck)
	require.Equal(t, stuck, p.stuck)
	require.Equal(t, spent, p.spent)
}

// A peer that may send to a producer has it send only to those to whom it could send itself: nobody
// else is subscribed, gets events, or loses a subscription.
func TestOthersSubscriptions(t *testing.T) {
	net := nodestest.New(t)
	shop := net.Node("shop", func(c *nodes.Config) {
		c.Rules = []nodes.Rule{{Peer: "third@*", Allow: true}, {Permission: nodes.MaySend, Target: "prices", Allow: true}, {}}
	})
	web, third := net.Node("web"), net.Node("third")
	net.Connect(web, shop)
	net.Connect(third, shop)
	p := seller(t, shop, nil, 1, 1)
	me, victim := mailbox(t, web, nil), mailbox(t, third, nil)
	says(t, victim, p, victim.Pid(), ei.Int(1), subscribing)
	knows(t, victim, p)
	says(t, me, p, victim.Pid(), ei.Int(2), subscribing)
	says(t, me, p, victim.Pid(), ei.Int(2), ei.Tuple{askOrder, ei.Int(1)})
	says(t, me, p, me.Pid(), ei.Int(1), ei.Tuple{askOrder, ei.Int(1)})
	says(t, me, p, me.Pid(), ei.Int(1), ei.Tuple{cancelOrder, ei.Atom("x")})
	says(t, me, p, me.Pid(), ei.Int(3), ei.Tuple{subscribeOrder, ei.Tuple{ei.Int(1), ei.Atom("x")}, ei.List{}})
	knows(t, me, p)
	require.EqualValues(t, 5, shop.Stats().Denied)
	require.ElementsMatch(t, []ei.Pid{victim.Pid(), me.Pid()}, p.Consumers())
	says(t, victim, p, victim.Pid(), ei.Int(1), ei.Tuple{askOrder, ei.Int(1)})
	require.Equal(t, `[<<0>>]`, hears(t, victim, ei.Int(1)))
	// its own, it may
	says(t, me, p, me.Pid(), ei.Int(3), ei.Tuple{cancelOrder, ei.Atom("x")})
	require.Equal(t, `{cancel,x}`, hears(t, me, ei.Int(3)))
	// nor is there a process that its node cannot have made, over which that would end the connection
	impossible := me.Pid()
	impossible.ID = 1 << 28
	says(t, me, p, impossible, ei.Int(4), subscribing)
	knows(t, me, p)
	require.Equal(t, []ei.Pid{victim.Pid()}, p.Consumers())
	addsUp(t, p)
}

// The subscriptions of a peer take so many bytes, with their tags, and those of others have room of
// their own.
func TestRoomOfPeers(t *testing.T) {
	net := nodestest.New(t)
	shop, web, good := net.Node("shop"), net.Node("web"), net.Node("good")
	net.Connect(web, shop)
	net.Connect(good, shop)
	p := seller(t, shop, nil, 0, 0)
	me := mailbox(t, web, nil)
	tag := func(i int) ei.Term { return ei.Tuple{ei.Int(i), ei.Binary(make([]byte, 1<<20))} }
	const fit = 31 // each is kept twice
	for i := range fit + 2 {
		says(t, me, p, me.Pid(), tag(i), subscribing)
	}
	for i := range 2 {
		require.Equal(t, "{cancel,system_limit}", hears(t, me, tag(fit+i)))
	}
	require.Len(t, p.Consumers(), fit)
	for _, n := range []*nodes.Node{good, shop} {
		b := mailbox(t, n, nil)
		for i := range 2 {
			says(t, b, p, b.Pid(), tag(fit+2+i), subscribing)
			knows(t, b, p)
			says(t, b, p, b.Pid(), tag(fit+2+i), ei.Tuple{cancelOrder, ei.Atom("x")})
			require.Equal(t, "{cancel,x}", hears(t, b, tag(fit+2+i)))
		}
	}
	says(t, me, p, me.Pid(), tag(0), ei.Tuple{cancelOrder, ei.Atom("x")})
	require.Equal(t, "{cancel,x}", hears(t, me, tag(0)))
	says(t, me, p, me.Pid(), tag(fit), subscribing)
	knows(t, me, p)
	require.Len(t, p.Consumers(), fit)
	addsUp(t, p)
}

// A peer that does not read, and has very many subscriptions cancelled, does not fill the memory
// with what it is to be told; when it reads, it gets all, in order. What it has demanded is nobody
// else's meanwhile.
func TestPeerDoesNotRead(t *testing.T) {
	ctx, tr := expect.Context(t), transport.NewMemory()
	at := nodes.Static{"shop@test": {Addr: transport.MemoryAddr("shop")}}
	node := func(name string) *nodes.Node {
		n, err := nodes.New(nodes.Config{Name: name, Cookie: "secret", Transport: tr, Resolver: at, Listen: at[name].Addr,
			Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		return n
	}
	shop, web := node("shop@test"), node("web@test") // which is never started, and reads when it is told to
	require.NoError(t, shop.Start(ctx))
	c, err := web.Connect(ctx, shop.Name())
	require.NoError(t, err)
	p := seller(t, shop, nil, 1<<30, 64<<10)
	says := func(tag, what ei.Term) {
		require.NoError(t, c.SendName(ctx, "prices", ei.Tuple{toProducer, ei.Tuple{c.Self(), tag}, what}))
	}
	state := func(f func() bool) func() bool {
		return func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return f()
		}
	}
	stuck := func(count int) func() bool { return state(func() bool { return p.stuck == count }) }
	says(ei.Atom("first"), subscribing)
	says(ei.Atom("first"), ei.Tuple{askOrder, ei.Int(1 << 40)})
	require.Eventually(t, stuck(1), expect.Limit, time.Millisecond)
	const many, size = 20, 8 << 20
	for i := range many {
		says(ei.Int(i), subscribing)
		says(ei.Int(i), ei.Tuple{cancelOrder, ei.Binary(make([]byte, size))})
	}
	says(ei.Atom("last"), subscribing)
	require.Eventually(t, stuck(2), expect.Limit, time.Millisecond)
	require.True(t, state(func() bool { return p.spent[web.Name()] <= mostSpent })())
	addsUp(t, p)
	other := mailbox(t, shop, nil)
	require.NoError(t, other.Send(ctx, p.Pid(), ei.Tuple{toProducer, ei.Tuple{other.Pid(), ei.Int(1)}, subscribing}))
	require.NoError(t, other.Send(ctx, p.Pid(), ei.Tuple{toProducer, ei.Tuple{other.Pid(), ei.Int(1)}, ei.Tuple{askOrder, ei.Int(1)}}))
	_ = told(t, other, ei.Int(1))

	ended, whole := 0, 0
	for ended < many {
		m, err := c.Receive(ctx)
		require.NoError(t, err)
		if m.Op == dist.OpMonitorP || m.Op == dist.OpDemonitorP {
			continue
		}
		said, err := parse(m.Payload, toConsumer)
		require.NoError(t, err)
		if said.events == nil {
			tag, err := said.tag.Decode()
			require.NoError(t, err)
			require.Equal(t, ei.Int(ended), tag)
			ended++
			if len(said.reason) > size {
				whole++
				require.Equal(t, ended, whole)
			}
		}
		m.Release()
	}
	require.Equal(t, mostSpent/size-1, whole)
	require.NoError(t, c.Close())
	require.Eventually(t, state(func() bool {
		return len(p.consumers) == 1 && p.making == 0 && len(p.ways) == 1
	}), expect.Limit, time.Millisecond)
	addsUp(t, p)
	require.True(t, state(func() bool { return len(p.spent) == 1 && len(p.monitors) == 1 })(), "of the other one")
}
