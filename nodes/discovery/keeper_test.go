package discovery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A world is a cluster in memory, whose nodes find each other by name.
type world struct {
	*cluster.Cluster
	t *testing.T
}

func newWorld(t *testing.T) *world { return &world{cluster.New(t), t} }

// start starts a node alive@test.
func (w *world) start(alive string, edit ...func(*nodes.Config)) *nodes.Node {
	w.t.Helper()
	cfg := w.Config(alive + "@test")
	for _, f := range edit {
		f(&cfg)
	}
	return w.Start(cfg)
}

// A diary is what the functions of Options have heard.
type diary struct {
	mu      sync.Mutex
	entries []string
	peers   []Peer
	at      []time.Time
	last    []Peer // those of the last take
}

func (d *diary) note(what string) func(Peer) {
	return func(p Peer) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.entries = append(d.entries, what+" "+p.Node)
		d.peers = append(d.peers, p)
		d.at = append(d.at, time.Now())
	}
}

// take gives what has been noted since the last take, once nothing more comes by itself.
func (d *diary) take() []string {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entries
	d.last, d.peers, d.at, d.entries = d.peers, nil, nil, nil
	return e
}

// listening are options that write everything into a diary.
func (d *diary) options() *Options {
	return &Options{OnConnected: d.note("connected"), OnLost: d.note("lost"), OnFailed: d.note("failed")}
}

func keep(t *testing.T, n *nodes.Node, s Source, o *Options) *Keeper {
	k := KeepConnected(n, s, o)
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func bubble(t *testing.T, f func(t *testing.T, w *world, d *diary)) {
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t), &diary{}) })
}

// A list is a Source that the test changes.
type list struct{ news chan any } // []string, error, or nil: the end

func (l *list) Nodes(ctx context.Context, _ *nodes.Node) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		for {
			var news any
			select {
			case news = <-l.news:
			case <-ctx.Done():
				return
			}
			names, _ := news.([]string)
			err, _ := news.(error)
			if news == nil || !yield(names, err) {
				return
			}
		}
	}
}

func TestKeeperConnectsToAll(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, d *diary) {
		a := w.start("a", func(c *nodes.Config) { c.Visible = true })
		b, c := w.start("b"), w.start("c")
		_, err := b.Connect(t.Context(), "a@test")
		require.NoError(t, err)
		began := time.Now()
		k := keep(t, a, List{"c@test", "a@test", "b@test", "c@test"}, d.options())
		synctest.Wait()
		require.ElementsMatch(t, []string{"connected b@test", "connected c@test"}, d.take(), "one was there already")
		require.Equal(t, []Peer{{Node: "b@test", Up: true, Since: began}, {Node: "c@test", Up: true, Since: began}}, k.Peers())
		require.ElementsMatch(t, []string{"b@test", "c@test"}, a.Peers())
		require.Equal(t, []string{"a@test"}, c.Peers(), "a hidden node connects to others only where it is told to")
		require.NoError(t, k.SourceErr())

		k.Close()
		k.Close()
		synctest.Wait()
		require.Len(t, a.Peers(), 2, "connections stay")
		require.Empty(t, d.take())
	})
}

// Delays double from MinDelay to MaxDelay, and are of random lengths; they begin again when a
// connection has lasted.
func TestKeeperBacksOff(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, d *diary) {
		a := w.start("a")
		o := d.options()
		o.MinDelay, o.MaxDelay = time.Second, 10*time.Second
		began := time.Now()
		k := keep(t, a, List{"b@test"}, o)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Greater(t, len(d.entries), 6)
		last, delay := began, time.Duration(0)
		lengths := map[time.Duration]bool{}
		for i, p := range d.peers {
			require.Equal(t, "failed b@test", d.entries[i])
			require.Equal(t, i+1, p.Attempts)
			require.False(t, p.Up)
			require.Equal(t, began, p.Since)
			require.ErrorContains(t, p.Err, "connect b@test")
			took := d.at[i].Sub(last)
			require.True(t, took >= delay/2 && took <= delay, "attempt %d after %v, for %v", i+1, took, delay)
			if last = d.at[i]; delay == 0 {
				delay = time.Second
			} else {
				delay = min(2*delay, 10*time.Second)
			}
			lengths[took] = true
			next := p.Next.Sub(last)
			require.True(t, next >= delay/2 && next <= delay, "the next one after %v, for %v", next, delay)
		}
		require.Greater(t, len(lengths), 3)
		require.False(t, k.Peers()[0].Next.IsZero())
		d.take()

		b := w.start("b")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, []string{"connected b@test"}, d.take())
		up := k.Peers()[0]
		require.True(t, up.Up)
		require.Zero(t, up.Attempts)
		require.Zero(t, up.Next)
		require.Error(t, up.Err, "the last one")

		time.Sleep(10 * time.Second) // it has lasted
		require.NoError(t, b.Close())
		lost := time.Now()
		synctest.Wait()
		require.Equal(t, []string{"lost b@test"}, d.take())
		p := d.last[0]
		require.Equal(t, nodes.DownClosedThere, p.Why)
		require.Equal(t, lost, p.Since)
		require.LessOrEqual(t, p.Next.Sub(lost), time.Second)
		w.start("b")
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"connected b@test"}, d.take())

		for want := 2 * time.Second; want < 8*time.Second; want *= 2 { // it does not last
			require.NoError(t, a.Conn("b@test").Close())
			synctest.Wait()
			require.Equal(t, []string{"lost b@test"}, d.take())
			p := d.last[0]
			require.Equal(t, nodes.DownClosedHere, p.Why)
			require.GreaterOrEqual(t, time.Until(p.Next), want/2)
			time.Sleep(want)
			synctest.Wait()
			require.Equal(t, []string{"connected b@test"}, d.take())
		}
	})
}

// A node that connects by itself is connected at once, however long the delay; so is one that a
// send has connected to.
func TestKeeperHearsOfOthers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, d *diary) {
		a := w.start("a")
		o := d.options()
		o.MinDelay = time.Hour
		keep(t, a, List{"b@test", "c@test"}, o)
		synctest.Wait()
		require.Len(t, d.take(), 2)
		b := w.start("b")
		_, err := b.Connect(t.Context(), "a@test")
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []string{"connected b@test"}, d.take())
		w.start("c")
		_, err = a.RPC(t.Context(), "c@test", "erlang", "node")
		require.Error(t, err) // undef
		synctest.Wait()
		require.Equal(t, []string{"connected c@test"}, d.take())
		require.EqualValues(t, 2, a.Stats().Connections)
	})
}

func TestKeeperReportsInvalidNameOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, d *diary) {
		l := &list{make(chan any)}
		k := keep(t, w.start("a"), l, d.options())
		l.news <- []string{"nohost", "a@test"}
		time.Sleep(time.Hour)
		require.Equal(t, []string{"failed nohost"}, d.take())
		require.ErrorIs(t, d.last[0].Err, dist.ErrInvalidName)
		require.Zero(t, d.last[0].Next)
		l.news <- []string{"nohost"}
		time.Sleep(time.Hour)
		require.Empty(t, d.take())
		require.Len(t, k.Peers(), 1)
	})
}

func TestKeeperFollowsSource(t *testing.T) {
	for _, disconnect := range []bool{false, true} {
		t.Run(fmt.Sprintf("disconnect=%t", disconnect), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world, d *diary) {
				a, b := w.start("a"), w.start("b")
				w.start("c")
				w.start("d")
				o := d.options()
				o.Disconnect = disconnect
				o.Only = func(node string) bool { return node != "d@test" }
				l := &list{make(chan any)}
				k := keep(t, a, l, o)
				l.news <- []string{"b@test", "d@test"}
				synctest.Wait()
				require.Equal(t, []string{"connected b@test"}, d.take())
				l.news <- []string{"c@test"}
				time.Sleep(time.Minute)
				require.Equal(t, []string{"connected c@test"}, d.take(), "what the Keeper has ended itself is not lost")
				require.Len(t, k.Peers(), 1)
				require.Equal(t, disconnect, a.Conn("b@test") == nil)
				require.NoError(t, b.Close())
				time.Sleep(time.Hour)
				require.Empty(t, d.take(), "it is kept no more")
				l.news <- []string{}
				synctest.Wait()
				require.Empty(t, k.Peers())
				w.start("b")
				l.news <- []string{"b@test"}
				synctest.Wait()
				require.Equal(t, []string{"connected b@test"}, d.take())
			})
		})
	}
}

// An error of the source changes nothing; one that ends after an error is asked again, later and
// later; one that ends otherwise has said all.
func TestKeeperSourceFails(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, d *diary) {
		var log strings.Builder
		a, b := w.start("a"), w.start("b")
		w.start("c")
		var times []time.Time // at which it is asked
		l := &list{make(chan any)}
		o := d.options()
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		k := keep(t, a, sourceFunc(func(ctx context.Context) iter.Seq2[[]string, error] {
			times = append(times, time.Now())
			return l.Nodes(ctx, nil)
		}), o)
		l.news <- []string{"b@test"}
		l.news <- errors.New("no answer")
		l.news <- errors.New("no answer")
		synctest.Wait()
		require.EqualError(t, k.SourceErr(), "no answer")
		require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
		require.Equal(t, []string{"connected b@test"}, d.take())
		for range 4 {
			l.news <- errors.New("no answer")
			l.news <- nil
			time.Sleep(30 * time.Second)
		}
		synctest.Wait()
		require.Len(t, times, 5)
		require.Greater(t, times[4].Sub(times[3]), defaultMinDelay)
		require.NoError(t, b.Close())
		w.start("b")
		time.Sleep(time.Minute)
		require.Equal(t, []string{"lost b@test", "connected b@test"}, d.take())
		l.news <- []string{"b@test", "c@test"}
		synctest.Wait()
		require.NoError(t, k.SourceErr())
		l.news <- nil
		time.Sleep(time.Hour)
		require.Equal(t, []string{"connected c@test"}, d.take())
		require.Len(t, times, 5)
		require.NoError(t, a.Conn("c@test").Close())
		time.Sleep(time.Minute)
		require.Equal(t, []string{"lost c@test", "connected c@test"}, d.take(), "it goes on with what the source has named")
	})
}

type sourceFunc func(ctx context.Context) iter.Seq2[[]string, error]

func (f sourceFunc) Nodes(ctx context.Context, _ *nodes.Node) iter.Seq2[[]string, error] {
	return f(ctx)
}

// A doorman is a Resolver that counts who waits, and lets nobody in until it is closed.
type doorman struct {
	*world
	open         chan struct{}
	inside, most atomic.Int32
}

func (d *doorman) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	d.most.Store(max(d.most.Load(), d.inside.Add(1)))
	defer d.inside.Add(-1)
	select {
	case <-d.open:
	case <-ctx.Done():
		return nodes.Endpoint{}, ctx.Err()
	}
	return d.world.Resolve(ctx, node)
}

func TestKeeperConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		door := &doorman{world: w, open: make(chan struct{})}
		a := w.start("a", func(c *nodes.Config) { c.Resolver = door })
		var all List
		for i := range 20 {
			alive := fmt.Sprintf("n%d", i)
			w.start(alive)
			all = append(all, alive+"@test")
		}
		keep(t, a, all, &Options{Concurrency: 3})
		k := keep(t, a, all, &Options{Concurrency: 3})
		synctest.Wait()
		require.LessOrEqual(t, int(door.most.Load()), 6)
		require.GreaterOrEqual(t, int(door.most.Load()), 3)
		close(door.open)
		synctest.Wait()
		require.Len(t, a.Peers(), 20)
		require.EqualValues(t, 20, a.Stats().Connections, "two Keepers, and one connection to each")
		for _, p := range k.Peers() {
			require.True(t, p.Up)
		}

		door.open = make(chan struct{}) // an attempt in progress is given up
		last := keep(t, w.start("z", func(c *nodes.Config) { c.Resolver = door }), all, nil)
		synctest.Wait()
		last.Close()
		require.Zero(t, door.inside.Load())
	})
}

// Keepers of both nodes, and sends both ways, make one connection, again and again.
func TestKeeperOneConnection(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, d *diary) {
		a, b := w.start("a"), w.start("b")
		o := d.options()
		o.MinDelay, o.MaxDelay = time.Millisecond, time.Millisecond
		ctx, cancel := context.WithCancel(t.Context())
		var sending sync.WaitGroup
		defer sending.Wait()
		defer cancel()
		for _, n := range []*nodes.Node{a, b} {
			for range 3 {
				keep(t, n, List{"a@test", "b@test"}, o)
			}
			box := cluster.Mailbox(t, n, nil)
			sending.Go(func() {
				for ctx.Err() == nil {
					_ = box.SendName(ctx, "a@test", "nobody", ei.Atom("x"))
					_ = box.SendName(ctx, "b@test", "nobody", ei.Atom("x"))
					time.Sleep(300 * time.Microsecond)
				}
			})
		}
		for i := range 20 {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			ca, cb := a.Conn("b@test"), b.Conn("a@test")
			require.NotNil(t, ca)
			require.NotNil(t, cb)
			entries := d.take()
			require.Len(t, entries, min(1, i)*6+6, "%v", entries)
			for _, e := range entries {
				require.NotContains(t, e, "failed")
			}
			require.EqualValues(t, i+1, a.Stats().Connections)
			require.NoError(t, ca.Close())
		}
	})
}

// When the node closes, no peer is lost, and the Keeper ends.
func TestKeeperEndsWithNode(t *testing.T) {
	for _, how := range []string{"close", "shutdown", "Keeper"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world, d *diary) {
				a, b := w.start("a"), w.start("b")
				k := KeepConnected(a, List{"b@test", "nobody@test"}, d.options())
				synctest.Wait()
				require.ElementsMatch(t, []string{"connected b@test", "failed nobody@test"}, d.take())
				switch how {
				case "close":
					require.NoError(t, a.Close())
				case "shutdown":
					require.NoError(t, a.Shutdown(t.Context()))
				case "Keeper":
					require.NoError(t, k.Err())
					require.NoError(t, k.Close())
				}
				<-k.Done()
				require.ErrorIs(t, k.Err(), nodes.ErrClosed)
				require.Empty(t, d.take())
				time.Sleep(time.Hour)
				require.EqualValues(t, 1, b.Stats().Connections)
				require.Equal(t, how == "Keeper", b.Conn("a@test") != nil)
			})
		})
	}
}

// A node that drains connects to nobody any more: not to those that it has lost, could not connect
// to, or is told of. What it hears of is told as ever.
func TestKeeperDuringDrain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, d *diary) {
		l := &list{make(chan any)}
		a, b, c := w.start("a"), w.start("b"), w.start("c")
		k := keep(t, a, l, d.options())
		l.news <- []string{"b@test", "nobody@test"}
		synctest.Wait()
		require.ElementsMatch(t, []string{"connected b@test", "failed nobody@test"}, d.take())
		require.NoError(t, a.Drain(t.Context()))
		require.NoError(t, b.Conn("a@test").Close())
		l.news <- []string{"b@test", "nobody@test", "c@test"}
		time.Sleep(time.Hour)
		require.Equal(t, []string{"lost b@test"}, d.take())
		require.Zero(t, d.last[0].Next)
		for _, p := range k.Peers() {
			require.False(t, p.Up)
			require.Zero(t, p.Next, p.Node)
		}
		require.Empty(t, a.Peers())
		require.NoError(t, k.Err())
		_, err := c.Connect(t.Context(), "a@test")
		require.NoError(t, err)
		require.Equal(t, []string{"connected c@test"}, d.take(), "by the other side")
	})
}

// A BEAM that is not part of a cluster announces itself under a name that nobody has.
func TestKeeperKnowsNoNode(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, d *diary) {
		a := w.start("a")
		w.start("b")
		k := keep(t, a, List{"nonode@nohost", "b@test"}, d.options())
		time.Sleep(time.Hour)
		require.Equal(t, []string{"connected b@test"}, d.take())
		require.Len(t, k.Peers(), 1)
	})
}

// While a Shutdown waits for a peer that does not read, the others are not connected to anew.
func TestKeeperDuringShutdown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, d *diary) {
		a, b := w.start("a"), w.start("b")
		silent := w.New(w.Config("c@test"))
		l, err := silent.Listen(t.Context(), w.Addr("c@test"))
		require.NoError(t, err)
		go func() { _, _ = l.Accept(t.Context()) }() // and nobody receives
		o := d.options()
		o.MinDelay, o.MaxDelay = time.Millisecond, time.Millisecond
		k := keep(t, a, List{"b@test", "c@test"}, o)
		require.ElementsMatch(t, []string{"connected b@test", "connected c@test"}, d.take())
		began := time.Now()
		require.NoError(t, a.Shutdown(t.Context()))
		require.GreaterOrEqual(t, time.Since(began), time.Second)
		<-k.Done()
		require.EqualValues(t, 1, b.Stats().Connections)
		require.Empty(t, d.take(), "nor is it told that they are lost, which the node has parted from")
	})
}

// A dynamic node gets its name by the first connection, and does not connect to itself.
func TestKeeperOfDynamicNode(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, d *diary) {
		w.start("b")
		cfg := w.Config("")
		cfg.Host = "test"
		n := w.New(cfg)
		l := &list{make(chan any)}
		k := keep(t, n, l, d.options())
		l.news <- []string{"b@test"}
		synctest.Wait()
		require.Equal(t, []string{"connected b@test"}, d.take())
		l.news <- []string{"b@test", n.Name()}
		synctest.Wait()
		require.Empty(t, d.take())
		require.Len(t, k.Peers(), 1)
	})
}
