//go:build unix

package nodes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// However calls end, and whatever becomes of the connections meanwhile, nothing stays counted:
// places, memory, processes.
func TestStormLeavesNothingCounted(t *testing.T) {
	for _, kind := range []string{"calm", "freezes", "closes"} {
		t.Run(kind, func(t *testing.T) { storm(t, rand.Uint64(), kind) })
	}
}

func storm(t *testing.T, seed uint64, kind string) {
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, movers[0])
	var all []*Node
	for _, name := range []string{"a", "b", "c"} {
		n := w.started(name, func(c *Config) {
			c.MaxCalls, c.OverflowLimit, c.QueueLimit = 1+r.IntN(4), 20_000+r.IntN(200_000), 1+r.IntN(10_000)
			c.DrainTimeout = 2 * time.Second
		})
		all = append(all, n)
	}
	for i, n := range all {
		next := all[(i+1)%3].Name()
		n.Expose("m", "f", func(ctx context.Context, args []ei.Term) (any, error) {
			left := int(args[0].(ei.Int))
			switch rand.IntN(12) {
			case 0:
				runtime.Goexit()
			case 1:
				panic("f")
			case 2:
				<-ctx.Done()
			case 3:
				time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			case 4:
				b, err := n.NewMailbox(nil)
				if err != nil {
					return nil, err
				}
				defer b.Close()
				brief, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
				defer cancel()
				_, _ = b.Receive(brief)
			case 5:
				b, err := n.NewMailbox(nil)
				if err != nil {
					return nil, err
				}
				defer b.Close()
				return nil, b.SendName(ctx, next, "box", ei.Binary(make([]byte, rand.IntN(5000))))
			}
			if left == 0 {
				return 1, nil
			}
			to := next
			if c := ConnOf(ctx); c != nil && rand.IntN(2) == 0 {
				to = c.Name()
			}
			if rand.IntN(3) == 0 {
				return n.CallName(ctx, to, "server", left-1)
			}
			return n.RPC(ctx, to, "m", "f", left-1)
		})
		serve(t, n, "server", Server{Call: func(ctx context.Context, c *Call) (any, error) {
			brief, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			return n.RPC(brief, next, "m", "f", c.Request)
		}}, &MailboxOptions{Limit: 1000})
		b := registered(t, n, "box", &MailboxOptions{Limit: 2000})
		go func() {
			for {
				if _, err := b.Receive(context.Background()); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(100+rand.IntN(100)) * time.Millisecond):
			}
			n := all[rand.IntN(3)]
			switch kind {
			case "freezes":
				if f, err := n.Freeze(context.Background()); err == nil {
					time.Sleep(10 * time.Millisecond)
					f.Thaw()
				}
			case "closes":
				if all := n.connections(); len(all) > 0 {
					all[rand.IntN(len(all))].Close()
				}
			}
		}
	})
	var callers sync.WaitGroup
	until := time.Now().Add(700 * time.Millisecond)
	for i := range 60 {
		callers.Go(func() {
			n, to := all[i%3], all[(i+1+i%2)%3].Name()
			for time.Now().Before(until) {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+rand.IntN(100))*time.Millisecond)
				_, _ = n.RPC(ctx, to, "m", "f", rand.IntN(5))
				cancel()
			}
		})
	}
	done := make(chan struct{})
	go func() { callers.Wait(); close(stop); others.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("callers hang")
	}
	counted := func() (each []string) {
		for _, n := range all {
			run, wait := n.procs.places.Counts()
			works := int64(0)
			for _, c := range n.connections() {
				works += c.works.Count()
			}
			each = append(each, fmt.Sprint(run, wait, n.requests.Held(), n.overflow.Held(), works, n.life.Work.Count(), n.procs.count()))
		}
		return each
	}
	const idle = "0 0 0 0 0 0 4" // net_kernel, rex, server, box
	for until := time.Now().Add(tooLong); !slices.Equal(counted(), []string{idle, idle, idle}); time.Sleep(tick) {
		require.True(t, time.Now().Before(until), "%v", counted())
	}
}
