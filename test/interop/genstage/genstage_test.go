package genstage

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

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/genstage"
)

// many is how many events a test sends.
func many() int {
	if testing.Short() {
		return 100_000
	}
	return otp.Times("CNODE_TEST_STAGE_EVENTS", 1_000_000)
}

// A tally is what a Go consumer gets: the integers, in their order.
type tally struct {
	mu    sync.Mutex
	count int
	sum   int
	last  int
	most  int // events in one list
	wrong string
}

func (c *tally) take(_ context.Context, events []int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most = max(c.most, len(events))
	for _, i := range events {
		if c.count > 0 && i <= c.last {
			c.wrong = fmt.Sprintf("%d after %d", i, c.last)
		}
		c.count, c.sum, c.last = c.count+1, c.sum+i, i
	}
	return nil
}

func (c *tally) now() (count, sum int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count, c.sum
}

func sumTo(n int) int { return n * (n - 1) / 2 }

// counter is the function of a Go producer of the integers up to a limit.
func counter(limit int) func(ctx context.Context, demand int) ([]int, error) {
	next := 0
	return func(ctx context.Context, demand int) ([]int, error) {
		till := min(next+demand, limit)
		events := make([]int, 0, till-next)
		for ; next < till; next++ {
			events = append(events, next)
		}
		if next == limit {
			return events, io.EOF
		}
		return events, nil
	}
}

// endless is a Go producer's function that gives integers until ctx ends, one at a time at least.
func endless() func(ctx context.Context, demand int) ([]int, error) {
	next := 0
	return func(ctx context.Context, demand int) ([]int, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
		events := make([]int, min(demand, 10))
		for i := range events {
			events[i] = next
			next++
		}
		return events, nil
	}
}

func ended(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(limit):
		require.FailNow(t, "it has not ended")
	}
}

// A Go consumer gets all that an Elixir producer has, and ends with it.
func TestGoConsumes(t *testing.T) {
	each(t, func(w *world) {
		for _, o := range []*genstage.Options{nil, {MaxDemand: 10}, {MaxDemand: 1}, {MaxDemand: 500, MinDemand: genstage.NoMinDemand}} {
			count := 1000
			if o == nil {
				count = many()
				o = new(genstage.Options)
			}
			o.Cancel = genstage.Transient
			name, _ := w.produce(w.x, count, "int", "stop")
			var got tally
			s, err := genstage.SubscribeName(w.ctx, w.n, w.x.name, name, o, got.take)
			require.NoError(w.t, err)
			ended(w.t, s.Done())
			require.NoError(w.t, s.Err())
			n, sum := got.now()
			require.Equal(w.t, count, n)
			require.Equal(w.t, sumTo(count), sum)
			require.Empty(w.t, got.wrong)
		}
	})
}

// Elixir consumers share what a Go producer has, and end with it.
func TestElixirConsumes(t *testing.T) {
	each(t, func(w *world) {
		count := many()
		name := named("numbers")
		p, err := genstage.Produce(w.n, name, nil, counter(count))
		require.NoError(w.t, err)
		w.call(w.x, "demand", w.at(name), ei.Atom("accumulate"))
		a := w.collect(w.x, w.at(name), "[{cancel,temporary}]", 0)
		b := w.collect(w.y, p.Pid(), "[{cancel,temporary},{max_demand,100}]", 0)
		require.Eventually(w.t, func() bool { return len(p.Consumers()) == 2 }, limit, tick)
		w.call(w.x, "demand", w.at(name), ei.Atom("forward"))
		ended(w.t, p.Done())
		require.NoError(w.t, p.Err())
		total, sum := 0, 0
		for _, c := range []*collector{a, b} {
			w.soon("[{down,normal}]", c.at, "call", c.pid, ei.Atom("notes"))
			r := w.call(c.at, "call", c.pid, ei.Atom("result")).(ei.Tuple)
			require.Equal(w.t, ei.Atom("true"), r[2])
			require.Greater(w.t, r[0], ei.Int(100), "both have a share")
			total += int(r[0].(ei.Int))
			sum += int(r[1].(ei.Int))
		}
		require.Equal(w.t, count, total)
		require.Equal(w.t, sumTo(count), sum)
	})
}

// Each consumer of a broadcasting producer gets everything, Elixir's and Go's, from both sides.
func TestBroadcast(t *testing.T) {
	const count = 5000
	each(t, func(w *world) {
		name := named("news")
		p, err := genstage.Produce(w.n, name, &genstage.ProducerOptions{Dispatcher: genstage.Broadcast}, counter(count))
		require.NoError(w.t, err)
		w.call(w.x, "demand", w.at(name), ei.Atom("accumulate"))
		a := w.collect(w.x, w.at(name), "[{cancel,temporary}]", 0)
		b := w.collect(w.y, w.at(name), "[{cancel,temporary},{max_demand,7}]", 0)
		var got tally
		s, err := genstage.Subscribe(w.ctx, w.n, p.Pid(), &genstage.Options{Cancel: genstage.Temporary}, got.take)
		require.NoError(w.t, err)
		require.Eventually(w.t, func() bool { return len(p.Consumers()) == 3 }, limit, tick)
		w.call(w.x, "subscribe", a.pid, w.at(name), ei.List{}) // another time
		w.soon("[{cancel,already_subscribed}]", w.x, "call", a.pid, ei.Atom("notes"))
		w.says("accumulate", w.x, "mode", w.at(name))
		w.call(w.x, "demand", w.at(name), ei.Atom("forward"))
		for _, c := range []*collector{a, b} {
			w.says(fmt.Sprint(count), c.at, "await", c.pid, count)
			w.says(fmt.Sprintf("{%d,%d,true}", count, sumTo(count)), c.at, "call", c.pid, ei.Atom("result"))
		}
		ended(w.t, s.Done())
		n, _ := got.now()
		require.Equal(w.t, count, n)

		name = named("news")
		w.call(w.x, "broadcasting", ei.Atom(name), count)
		var both [2]tally
		for i := range both {
			s, err := genstage.SubscribeName(w.ctx, w.n, w.x.name, name, nil, both[i].take)
			require.NoError(w.t, err)
			defer func() { require.NoError(w.t, s.Cancel(w.ctx, ei.Atom("normal"))) }()
		}
		for i := range both {
			require.Eventually(w.t, func() bool { n, _ := both[i].now(); return n > 0 && both[i].last == count-1 }, limit, tick)
			require.Empty(w.t, both[i].wrong)
		}
	})
}

// A PartitionDispatcher gives each subscription its part; one that names none ends the producer.
func TestPartition(t *testing.T) {
	const count, parts = 3000, 3
	each(t, func(w *world) {
		name := named("parts")
		pid := w.call(w.x, "partitioned", ei.Atom(name), count, parts).(ei.Pid)
		var got [parts]tally
		var all []*genstage.Subscription
		for i := range parts {
			s, err := genstage.Subscribe(w.ctx, w.n, pid, &genstage.Options{Partition: i}, got[i].take)
			require.NoError(w.t, err)
			all = append(all, s)
		}
		for i := range parts {
			require.Eventually(w.t, func() bool { n, _ := got[i].now(); return n == count/parts }, limit, tick)
			require.Equal(w.t, i, got[i].last%parts)
		}
		s, err := genstage.Subscribe(w.ctx, w.n, pid, nil, got[0].take)
		require.NoError(w.t, err)
		for _, s := range append(all, s) {
			ended(w.t, s.Done())
			var exit *nodes.ExitError
			require.ErrorAs(w.t, s.Err(), &exit)
			require.Contains(w.t, exit.Reason.String(), "the :partition option is required")
		}
	})
}

// An Elixir consumer cancels, subscribes anew with other options, and is cancelled.
func TestCancelProducer(t *testing.T) {
	each(t, func(w *world) {
		name := named("endless")
		p, err := genstage.Produce(w.n, name, nil, endless())
		require.NoError(w.t, err)
		defer p.Close()
		a := w.collect(w.x, w.at(name), "[{max_demand,20},{cancel,temporary}]", 1)
		w.call(w.x, "await", a.pid, 100)
		// another subscription in the place of this one
		t2 := w.call(w.x, "resubscribe", a.pid, a.tag, ei.Atom("other"), w.at(name), parse(w.t, "[{max_demand,5},{cancel,temporary}]")).(ei.Tuple)
		w.soon("[{cancel,other}]", w.x, "call", a.pid, ei.Atom("notes"))
		require.Len(w.t, p.Consumers(), 1)
		r := w.call(w.x, "call", a.pid, ei.Atom("result")).(ei.Tuple)
		w.call(w.x, "await", a.pid, r[0].(ei.Int)+100)
		// the consumer cancels
		w.call(w.x, "cancel", w.at(name), a.pid, t2[1], ei.Atom("enough"))
		w.soon("[{cancel,other},{cancel,enough}]", w.x, "call", a.pid, ei.Atom("notes"))
		require.Empty(w.t, p.Consumers())
		// the producer does, a permanent consumer too
		b := w.collect(w.y, w.at(name), "[{max_demand,20},{cancel,permanent}]", 0)
		w.call(w.y, "await", b.pid, 10)
		var reason ei.Term
		var wait sync.WaitGroup
		wait.Go(func() { reason, err = w.n.RPC(w.ctx, w.y.name, "Elixir.Peer", "ends", b.pid) })
		require.NoError(w.t, p.Cancel(b.pid, ei.Atom("go_away")))
		wait.Wait()
		require.NoError(w.t, err)
		require.Contains(w.t, []string{"go_away", "noproc"}, reason.String())
		require.ErrorIs(w.t, p.Cancel(b.pid, ei.Atom("go_away")), nodes.ErrNoProc)
		require.Empty(w.t, p.Consumers())
		// what cannot be
		w.says("{error,not_a_consumer}", w.x, "sync_subscribe", w.at(name), w.at(name))
		w.says("forward", w.x, "mode", w.at(name))
		w.says("ok", w.x, "sync_info", w.at(name))
		require.LessOrEqual(w.t, w.call(w.x, "buffered", w.at(name)), ei.Int(10)) // what was demanded before
	})
}

func parse(t *testing.T, text string) ei.Term {
	t.Helper()
	term, err := ei.Parse(text)
	require.NoError(t, err)
	return term
}

// GenStage.stream, which demands, takes and cancels.
func TestStream(t *testing.T) {
	each(t, func(w *world) {
		name := named("stream")
		p, err := genstage.Produce(w.n, name, nil, counter(1_000_000_000))
		require.NoError(w.t, err)
		defer p.Close()
		w.says(fmt.Sprint(sumTo(1000)), w.x, "take", w.at(name), parse(w.t, "[{max_demand,100}]"), 1000)
		require.Eventually(w.t, func() bool { return len(p.Consumers()) == 0 }, limit, tick)
	})
}

// Cancel loses nothing: what the producer has given by then is dealt with.
func TestCancelSubscription(t *testing.T) {
	each(t, func(w *world) {
		for _, o := range []*genstage.Options{nil, {MaxDemand: 3}, {Cancel: genstage.Temporary}} {
			name, pid := w.produce(w.x, 1_000_000_000, "int", "wait")
			var got tally
			s, err := genstage.SubscribeName(w.ctx, w.n, w.x.name, name, o, got.take)
			require.NoError(w.t, err)
			require.Eventually(w.t, func() bool { n, _ := got.now(); return n > 2000 }, limit, tick)
			require.NoError(w.t, s.Cancel(w.ctx, ei.Atom("enough")))
			require.NoError(w.t, s.Err())
			n, _ := got.now()
			w.says(fmt.Sprint(n), w.x, "call", pid, ei.Atom("next"))
			require.Empty(w.t, got.wrong)
		}
		// a node that drains
		n := w.node()
		name, pid := w.produce(w.x, 1_000_000_000, "int", "wait")
		var got tally
		s, err := genstage.SubscribeName(w.ctx, n, w.x.name, name, nil, got.take)
		require.NoError(w.t, err)
		require.Eventually(w.t, func() bool { n, _ := got.now(); return n > 2000 }, limit, tick)
		require.NoError(w.t, n.Shutdown(w.ctx))
		ended(w.t, s.Done())
		require.NoError(w.t, s.Err())
		count, _ := got.now()
		w.says(fmt.Sprint(count), w.x, "call", pid, ei.Atom("next"))
	})
}

// The end of a producer is one of the subscription, with an error as Options.Cancel says.
func TestProducerEnds(t *testing.T) {
	each(t, func(w *world) {
		for _, tt := range []struct {
			reason string
			cancel genstage.Cancel
			fails  bool
		}{
			{"normal", genstage.Permanent, true}, {"normal", genstage.Transient, false}, {"shutdown", genstage.Transient, false},
			{"{shutdown,idle}", genstage.Transient, false}, {"bug", genstage.Transient, true}, {"bug", genstage.Temporary, false},
		} {
			name, pid := w.produce(w.x, 1_000_000_000, "int", "wait")
			var got tally
			s, err := genstage.SubscribeName(w.ctx, w.n, w.x.name, name, &genstage.Options{Cancel: tt.cancel, MaxDemand: 10}, got.take)
			require.NoError(w.t, err)
			require.Eventually(w.t, func() bool { n, _ := got.now(); return n > 20 }, limit, tick)
			w.call(w.x, "cast", pid, ei.Tuple{ei.Atom("stop"), parse(w.t, tt.reason)})
			ended(w.t, s.Done())
			if !tt.fails {
				require.NoError(w.t, s.Err())
				continue
			}
			var exit *nodes.ExitError
			require.ErrorAs(w.t, s.Err(), &exit)
			require.Equal(w.t, tt.reason, exit.Reason.String())
		}
		s, err := genstage.SubscribeName(w.ctx, w.n, w.x.name, "nobody", nil, new(tally).take)
		require.NoError(w.t, err)
		ended(w.t, s.Done())
		require.ErrorIs(w.t, s.Err(), nodes.ErrNoProc)
	})
}

// A consumer's function that fails ends the consumer, which the producer hears of.
func TestConsumerFails(t *testing.T) {
	each(t, func(w *world) {
		name, pid := w.produce(w.x, 1_000_000_000, "map", "wait")
		bug := errors.New("a bug")
		for _, f := range []func(context.Context, []struct{ Price int }) error{
			func(context.Context, []struct{ Price int }) error { return bug },
			func(context.Context, []struct{ Price int }) error { return io.EOF },
			func(context.Context, []struct{ Price int }) error { panic(bug) },
		} {
			s, err := genstage.Subscribe(w.ctx, w.n, pid, nil, f)
			require.NoError(w.t, err)
			ended(w.t, s.Done())
		}
		s, err := genstage.Subscribe(w.ctx, w.n, pid, nil, new(tally).take) // a map is no int
		require.NoError(w.t, err)
		ended(w.t, s.Done())
		require.ErrorContains(w.t, s.Err(), "an event that is no int")
		var got atomic.Int64
		s, err = genstage.SubscribeName(w.ctx, w.n, w.x.name, name, nil, func(_ context.Context, events []struct{ Price int }) error {
			got.Add(int64(len(events)))
			return nil
		})
		require.NoError(w.t, err)
		require.Eventually(w.t, func() bool { return got.Load() > 10_000 }, limit, tick)
		require.NoError(w.t, s.Cancel(w.ctx, ei.Atom("normal")))
	})
}

// Either side is killed: the process, and the node, while events are on their way.
func TestKills(t *testing.T) {
	each(t, func(w *world) {
		// the producer's process
		name, pid := w.produce(w.x, 1_000_000_000, "int", "wait")
		var got tally
		s, err := genstage.SubscribeName(w.ctx, w.n, w.x.name, name, nil, got.take)
		require.NoError(w.t, err)
		require.Eventually(w.t, func() bool { n, _ := got.now(); return n > 2000 }, limit, tick)
		_, err = w.n.RPC(w.ctx, w.x.name, "erlang", "exit", pid, ei.Atom("kill"))
		require.NoError(w.t, err)
		ended(w.t, s.Done())
		require.ErrorContains(w.t, s.Err(), "killed")

		// an Elixir consumer's process: the other one gets what is left
		name = named("numbers")
		p, err := genstage.Produce(w.n, name, nil, endless())
		require.NoError(w.t, err)
		a := w.collect(w.x, w.at(name), "[{max_demand,50}]", 1)
		b := w.collect(w.y, w.at(name), "[{max_demand,50},{cancel,temporary}]", 0)
		w.call(w.x, "await", a.pid, 100)
		_, err = w.n.RPC(w.ctx, w.x.name, "erlang", "exit", a.pid, ei.Atom("kill"))
		require.NoError(w.t, err)
		require.Eventually(w.t, func() bool { return len(p.Consumers()) == 1 }, limit, tick)
		r := w.call(w.y, "call", b.pid, ei.Atom("result")).(ei.Tuple)
		w.call(w.y, "await", b.pid, r[0].(ei.Int)+1000)
		// the Go producer's process
		_, err = w.n.RPC(w.ctx, w.y.name, "erlang", "exit", p.Pid(), ei.Atom("kill"))
		require.NoError(w.t, err)
		ended(w.t, p.Done())
		require.ErrorContains(w.t, p.Err(), "killed")
		w.soon("[{down,killed}]", w.y, "call", b.pid, ei.Atom("notes"))

		// the Go node
		n := w.node()
		p, err = genstage.Produce(n, name, nil, endless())
		require.NoError(w.t, err)
		c := w.collect(w.x, p.Pid(), "[{cancel,temporary}]", 0)
		w.call(w.x, "await", c.pid, 100)
		_, err = w.n.RPC(w.ctx, w.x.name, "erlang", "disconnect_node", ei.Atom(n.Name()))
		require.NoError(w.t, err)
		w.soon("[{down,noconnection}]", w.x, "call", c.pid, ei.Atom("notes"))
		require.Eventually(w.t, func() bool { return len(p.Consumers()) == 0 }, limit, tick)
		require.NoError(w.t, p.Close())

		// the Elixir node
		z := w.lab.launch(w.t)
		defer z.program.Close()
		p, err = genstage.Produce(w.n, name, nil, endless())
		require.NoError(w.t, err)
		defer p.Close()
		d := w.collect(z, w.at(name), "[]", 0)
		w.call(z, "await", d.pid, 100)
		name, _ = w.produce(z, 1_000_000_000, "int", "wait")
		got = tally{}
		s, err = genstage.SubscribeName(w.ctx, w.n, z.name, name, nil, got.take)
		require.NoError(w.t, err)
		require.Eventually(w.t, func() bool { n, _ := got.now(); return n > 2000 }, limit, tick)
		z.program.Kill()
		ended(w.t, s.Done())
		require.ErrorIs(w.t, s.Err(), nodes.ErrNoConnection)
		require.Eventually(w.t, func() bool { return len(p.Consumers()) == 0 }, limit, tick)
	})
}
