package nodes

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/test/expect"
)

// events are what hooks have heard.
type events chan string

func (e events) add(event string) {
	select {
	case e <- event:
	default: // enough
	}
}

func (e events) await(t testing.TB, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		for {
			select {
			case got := <-e:
				if got == want {
					return true
				}
			default:
				return false
			}
		}
	}, expect.Limit, time.Millisecond, want)
}

func (e events) hooks() *metrics.Hooks {
	return &metrics.Hooks{
		ConnUp: func(c *metrics.Conn) {
			if c.Adopted {
				e.add("adopted " + c.Peer)
			}
		},
		ConnDown:    func(c *metrics.Conn, cause string, _ error) { e.add(cause + " " + c.Peer) },
		QueueFull:   func(c *metrics.Conn) { e.add("queue full " + c.Peer) },
		TickMissed:  func(c *metrics.Conn) { e.add("missed " + c.Peer) },
		Overflow:    func(peer string, _ int) { e.add("overflow " + peer) },
		MailboxFull: func(process string) { e.add("full " + process) },
	}
}

func TestQueueFullHook(t *testing.T) {
	w, all := newWorld(t, "memory"), make(events, 100)
	a := w.started("alice")
	a.Measure(all.hooks())
	p, _ := w.ambush("wire@test").meet(a)
	here := box(t, a)
	for { // the peer does not read
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		err := here.Send(ctx, p.self, make([]byte, 5000))
		cancel()
		if err != nil {
			break
		}
	}
	all.await(t, "queue full wire@test")
}

func TestTickMissedHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, all := newWorld(t, "memory"), make(events, 100)
		b, l := w.listening("bob")
		b.Measure(all.hooks())
		p, c := w.joined(l, role("wire@test"))
		receiving(c)
		p.listen(func([]byte, time.Duration) {}) // and says nothing
		<-c.Done()
		synctest.Wait()
		for range missedTicks {
			require.Equal(t, "missed wire@test", <-all)
		}
		require.Equal(t, "tick_timeout wire@test", <-all)
	})
}

func TestMailboxHooks(t *testing.T) {
	w, all := newWorld(t, "memory"), make(events, 100)
	a, b := w.started("alice"), w.started("bob")
	b.Measure(all.hooks())
	for name, full := range map[string]Full{"keeps": FullBlock, "ends": FullExit} {
		to, err := b.NewMailbox(&MailboxOptions{Limit: 1000, Full: full})
		require.NoError(t, err)
		require.NoError(t, b.Register(name, to))
	}
	from := box(t, a)
	for range 3 {
		require.NoError(t, from.SendName(w.ctx(), b.Name(), "keeps", ei.Binary(make([]byte, 900))))
	}
	all.await(t, "overflow "+a.Name())
	for range 3 {
		require.NoError(t, from.SendName(w.ctx(), b.Name(), "ends", ei.Binary(make([]byte, 900))))
	}
	all.await(t, "full ends")
}
