package genstage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/genstage"
	"github.com/cnode-go/cnode/nodes/nodestest"
)

// A taker is a consumer that demands as it likes, and keeps account.
type taker struct {
	b         *nodes.Mailbox
	tag       ei.Int
	asked     atomic.Int64 // before it is said
	got       []int        // guarded by mu
	mu        sync.Mutex
	over      chan struct{} // closed when the cancellation has come
	excessive atomic.Bool
}

func newTaker(n *nodes.Node, tag int) (*taker, error) {
	b, err := n.NewMailbox(nil)
	if err != nil {
		return nil, err
	}
	c := &taker{b: b, tag: ei.Int(tag), over: make(chan struct{})}
	go func() {
		defer close(c.over)
		for m, err := range b.All(context.Background()) {
			if err != nil || m.Op != dist.OpSend {
				return
			}
			var said struct {
				_    struct{} `ei:"tuple=$gen_consumer"`
				From ei.Raw
				What ei.Raw
			}
			var events []int
			if m.Payload.Unmarshal(&said) != nil || said.What.Unmarshal(&events) != nil {
				return // cancelled
			}
			c.mu.Lock()
			c.got = append(c.got, events...)
			if int64(len(c.got)) > c.asked.Load() {
				c.excessive.Store(true)
			}
			c.mu.Unlock()
		}
	}()
	return c, nil
}

func (c *taker) order(to ei.Pid, what ei.Term) error {
	return c.b.Send(context.Background(), to, ei.Tuple{ei.Atom("$gen_producer"), ei.Tuple{c.b.Pid(), c.tag}, what})
}

func (c *taker) ask(to ei.Pid, count int) error {
	c.asked.Add(int64(count))
	return c.order(to, ei.Tuple{ei.Atom("ask"), ei.Int(count)})
}

func (c *taker) has() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]int(nil), c.got...)
}

// Whatever consumers do, none gets more than it has demanded, and each event comes to one of them,
// in order, and only to one; only those for one that was killed may be missing.
func TestProducerModel(t *testing.T) {
	n, m := nodestest.Pair(t)
	rapid.Check(t, func(t *rapid.T) {
		source := newTap()
		p, err := genstage.Produce(n, "", nil, source.take)
		require.NoError(t, err)
		defer p.Close()
		var live, all []*taker
		killed, supplied := false, 0
		join := func() *taker {
			c, err := newTaker([]*nodes.Node{n, m}[len(all)%2], len(all))
			require.NoError(t, err)
			live, all = append(live, c), append(all, c)
			require.NoError(t, c.order(p.Pid(), ei.Tuple{ei.Atom("subscribe"), ei.Atom("nil"), ei.List{}}))
			return c
		}
		one := func(t *rapid.T) (c *taker, drop func()) {
			if len(live) == 0 {
				t.Skip("nobody")
			}
			i := rapid.IntRange(0, len(live)-1).Draw(t, "who")
			return live[i], func() { live = append(live[:i:i], live[i+1:]...) }
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(*rapid.T) { join() },
			"ask": func(t *rapid.T) {
				c, _ := one(t)
				require.NoError(t, c.ask(p.Pid(), rapid.IntRange(1, 20).Draw(t, "demand")))
			},
			"supply": func(t *rapid.T) {
				count := rapid.IntRange(1, 30).Draw(t, "count")
				supplied += count
				source.open(count, nil)
			},
			"cancel": func(t *rapid.T) {
				c, drop := one(t)
				drop()
				require.NoError(t, c.order(p.Pid(), ei.Tuple{ei.Atom("cancel"), ei.Atom("enough")}))
				<-c.over
			},
			"cancelled": func(t *rapid.T) {
				c, drop := one(t)
				drop()
				if p.Cancel(c.b.Pid(), ei.Atom("enough")) == nil { // else its subscription is on its way
					<-c.over
				} else {
					killed = true
					c.b.Exit(ei.Atom("kill"))
				}
			},
			"kill": func(t *rapid.T) {
				c, drop := one(t)
				drop()
				killed = true
				c.b.Exit(ei.Atom("killed"))
			},
			"": func(t *rapid.T) {
				for _, c := range all {
					require.False(t, c.excessive.Load(), "more than was demanded")
				}
			},
		})
		// one takes all that is left
		source.open(0, io.EOF)
		last := join()
		require.NoError(t, last.ask(p.Pid(), supplied+1))
		select {
		case <-p.Done():
		case <-time.After(expect.Limit):
			t.Fatalf("the producer has not ended: %d supplied, %d left", supplied, source.left)
		}
		require.NoError(t, p.Err())
		seen := map[int]bool{}
		for _, c := range all {
			if !killed {
				c.settle(t, p)
			}
			before := -1
			for _, i := range c.has() {
				require.False(t, seen[i], "twice: %d", i)
				require.Greater(t, i, before)
				seen[i], before = true, i
			}
			require.False(t, c.excessive.Load(), "more than was demanded")
			c.b.Close()
			<-c.over
		}
		if !killed {
			require.Len(t, seen, supplied)
		}
	})
}

// settle waits until all has come that the producer has sent before it ended.
func (c *taker) settle(t *rapid.T, p *genstage.Producer) {
	if c.b.Err() != nil {
		return
	}
	select {
	case <-c.over: // cancelled
		return
	default:
	}
	_, err := c.b.Monitor(context.Background(), p.Pid()) // its noproc comes after what was sent
	require.NoError(t, err)
	<-c.over
}

// GenStage's rule, of GenStage.Utils.split_batches: the lists in which events are dealt with, and
// what is demanded after each.
func splitBatches(events, least, most int, pending *int) (sizes, asks []int) {
	owed := *pending
	for events > 0 {
		size := min(events, most-least)
		events -= size
		counts := min(size, owed)
		owed -= counts
		ask := 0
		if left := *pending - counts; left <= least {
			*pending, ask = most, most-left
		} else {
			*pending = left
		}
		sizes, asks = append(sizes, size), append(asks, ask)
	}
	return sizes, asks
}

// A subscription deals with events, and demands more, as a GenStage consumer does.
func TestSubscriptionModel(t *testing.T) {
	n, m := nodestest.Pair(t)
	s := newStage(t, m)
	ctx := expect.Context(t)
	rapid.Check(t, func(r *rapid.T) {
		most := rapid.IntRange(1, 12).Draw(r, "max")
		least := rapid.IntRange(0, most-1).Draw(r, "min")
		o := &genstage.Options{MaxDemand: most, MinDemand: least}
		if least == 0 {
			o.MinDemand = genstage.NoMinDemand
		}
		sizes := make(chan int, 1000)
		sub, err := genstage.Subscribe(ctx, n, s.b.Pid(), o, func(_ context.Context, events []int) error {
			sizes <- len(events)
			return nil
		})
		require.NoError(r, err)
		tag, _ := s.hears()
		s.expects(tag, fmt.Sprintf("{ask,%d}", most))
		pending, demanded := most, most
		for range rapid.IntRange(1, 10).Draw(r, "messages") {
			if demanded == 0 {
				break
			}
			count := rapid.IntRange(1, demanded).Draw(r, "events")
			if rapid.IntRange(0, 9).Draw(r, "odd") == 0 {
				count = demanded + rapid.IntRange(1, 5).Draw(r, "excess")
			}
			demanded = max(demanded-count, 0)
			events := ei.List{}
			for i := range count {
				events = append(events, ei.Int(i))
			}
			require.NoError(r, s.b.Send(ctx, s.consumer(), ei.Tuple{ei.Atom("$gen_consumer"), ei.Tuple{s.b.Pid(), tag}, events}))
			wantSizes, wantAsks := splitBatches(count, least, most, &pending)
			for i, size := range wantSizes {
				if wantAsks[i] > 0 {
					s.expects(tag, fmt.Sprintf("{ask,%d}", wantAsks[i]))
					demanded += wantAsks[i]
				}
				require.Equal(r, size, <-sizes)
			}
			require.LessOrEqual(r, demanded, most)
		}
		done := make(chan error, 1)
		go func() { done <- sub.Cancel(ctx, ei.Atom("enough")) }()
		s.expects(tag, "{cancel,enough}")
		s.says(s.consumer(), "$gen_consumer", tag, "{cancel, enough}")
		require.NoError(r, <-done)
		require.Empty(r, sizes)
	})
}

// Producer and subscriptions together: no more is on its way than all may demand, nothing is lost,
// and nothing comes twice, though some cancel and others come.
func TestStagesModel(t *testing.T) {
	n, m := nodestest.Pair(t)
	ctx := expect.Context(t)
	rapid.Check(t, func(r *rapid.T) {
		var given, dealt, may atomic.Int64
		count := rapid.IntRange(1, 3000).Draw(r, "events")
		source := newTap()
		source.open(count, nil)
		var tooMuch atomic.Bool
		p, err := genstage.Produce(n, "", nil, func(ctx context.Context, demand int) ([]int, error) {
			events, err := source.take(ctx, demand)
			if given.Add(int64(len(events)))-dealt.Load() > may.Load() {
				tooMuch.Store(true)
			}
			return events, err
		})
		require.NoError(r, err)
		defer p.Close()
		seen := make([]atomic.Int32, count)
		subscribe := func() *genstage.Subscription {
			o := &genstage.Options{MaxDemand: rapid.IntRange(1, 40).Draw(r, "max"), Cancel: genstage.Transient}
			if rapid.Bool().Draw(r, "none") {
				o.MinDemand = genstage.NoMinDemand
			}
			may.Add(int64(o.MaxDemand))
			s, err := genstage.Subscribe(ctx, []*nodes.Node{n, m}[o.MaxDemand%2], p.Pid(), o, func(_ context.Context, events []int) error {
				dealt.Add(int64(len(events)))
				for _, i := range events {
					seen[i].Add(1)
				}
				return nil
			})
			require.NoError(r, err)
			return s
		}
		all := []*genstage.Subscription{subscribe()} // which stays
		for range rapid.IntRange(0, 5).Draw(r, "others") {
			s := subscribe()
			all = append(all, s)
			if rapid.Bool().Draw(r, "cancels") {
				require.NoError(r, s.Cancel(ctx, ei.Atom("enough")))
			}
		}
		source.open(0, io.EOF)
		for _, s := range all {
			select {
			case <-s.Done():
				if err := s.Err(); !errors.Is(err, nodes.ErrNoProc) { // it came when the producer had ended
					require.NoError(r, err)
				}
			case <-ctx.Done():
				r.Fatalf("it has not ended: %d of %d dealt with", dealt.Load(), count)
			}
		}
		require.False(r, tooMuch.Load(), "more than was demanded")
		for i := range seen {
			require.EqualValues(r, 1, seen[i].Load(), "event %d", i)
		}
	})
}
