package nodes

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/nodes/metrics"
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
	ctx, cancel := context.WithCancel(w.ctx())
	defer cancel()
	sends := async(func() (int, error) { // the peer does not read
		for {
			if err := here.Send(ctx, p.Self, make([]byte, 5000)); err != nil {
				return 0, err
			}
		}
	})
	all.await(t, "queue full wire@test")
	cancel()
	require.ErrorIs(t, arrives(t, sends, "the end of the sends").err, context.Canceled)
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
		for range link.MissedTicks {
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
		registered(t, b, name, &MailboxOptions{Limit: 1000, Full: full})
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

// Peers whose names will hardly come again are told apart from those that have a name.
func TestTemporaryPeers(t *testing.T) {
	all := map[string]bool{}
	for _, alive := range strings.Fields("3W5E11264SGSE 1B2GHPYW0C3X c17 c996 cnode-demo-4711 cnode-gen-4712 rem-1f2e-shop rpc-31337-shop " +
		"remsh5d41aa02-shop maint0a1b2c3d-shop rabbitmqcli-42-rabbit") {
		all[alive+"@host"] = true
	}
	for _, alive := range strings.Fields("shop c c1234 cx ORDERS WAREHOUSE_EU_1 warehouse1 remote rpc-gateway maintenance " +
		"cnode-demo 4W5E11264SGSE 3W5E11264SGSEX") {
		all[alive+"@host"] = false
	}
	all["@"], all[""] = false, false
	for name, want := range all {
		p := &dist.Peer{Name: name, Status: protocol.StatusOK}
		require.Equal(t, want, peers.IsTemporary(p), name)
		p.Announced = dist.FlagPublished
		require.False(t, peers.IsTemporary(p), "%s is visible", name)
		p.Status = protocol.StatusNamed
		require.True(t, peers.IsTemporary(p), "%s was named here", name)
	}
	for range 100 {
		require.True(t, peers.IsTemporary(&dist.Peer{Name: dynamicName() + "@host"}))
	}
}

// What hooks and Stats have as names are texts that everybody takes, whatever was called.
func TestNamesAreClipped(t *testing.T) {
	w, all := newWorld(t, "memory"), make(chan *metrics.CallInfo, 100)
	a, b := w.started("alice"), w.started("bob")
	a.Measure(&metrics.Hooks{CallEnded: func(_ context.Context, c *metrics.CallInfo) { all <- c }})
	long := strings.Repeat("x", 5<<20)
	for _, odd := range []string{"\xff\xfe", long, "", "nul\x00", `"quoted"`, "\x1b[2J"} {
		_, err := a.RPC(w.ctx(), b.Name(), odd, odd)
		require.Error(t, err)
		_, err = a.ERPC(w.ctx(), odd, "m", "f")
		require.Error(t, err)
		_, err = a.CallName(w.ctx(), b.Name(), odd, ei.Atom("x"))
		require.Error(t, err)
		for range 3 {
			c := <-all
			for _, text := range []string{c.Peer, c.Module, c.Function} {
				require.Equal(t, metrics.Clip(text), text)
				require.LessOrEqual(t, len(text), 1024)
			}
		}
	}
	for _, f := range a.Stats().Functions {
		require.Equal(t, metrics.Clip(f.Module), f.Module)
	}
}

// Why a function has panicked is in the record of its call, and in that of a Server's, too.
func TestPanicsSayWhy(t *testing.T) {
	w, all := newWorld(t, "memory"), make(chan *metrics.CallInfo, 100)
	a := w.started("alice")
	a.Measure(&metrics.Hooks{CallEnded: func(_ context.Context, c *metrics.CallInfo) { all <- c }})
	bug := func(context.Context, *Call) (any, error) { panic("a bug") }
	leave := FuncOf(func() int { runtime.Goexit(); return 0 })
	for name, s := range map[string]Server{
		"calls": {Call: bug, Recover: true}, "dies": {Call: bug}, "casts": {Cast: func(context.Context, ei.Term) { panic("a bug") }},
		"on": {On: map[string]Func{"f": FuncOf(func() int { panic(errors.New("a bug")) })}}, "leaves": {On: map[string]Func{"f": leave}},
	} {
		serve(t, a, name, s)
	}
	from := box(t, a)
	for _, name := range []string{"calls", "dies", "casts", "on", "leaves"} {
		request := ei.Term(ei.Atom("f"))
		if name == "casts" {
			require.NoError(t, from.Cast(w.ctx(), a.Whereis(name).Pid(), request))
		} else {
			_, _ = a.CallName(w.ctx(), a.Name(), name, request)
		}
		c := <-all
		for c.Out {
			c = <-all
		}
		require.Equal(t, name, c.Module)
		require.Equal(t, metrics.OutcomePanicked, c.Outcome)
		why := "a bug"
		if name == "leaves" {
			why = "runtime.Goexit"
		}
		require.ErrorContains(t, c.Err, why)
	}
}
