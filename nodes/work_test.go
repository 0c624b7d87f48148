package nodes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// Functions run on goroutines that have run others. Whatever they do with theirs, or is done to
// them meanwhile, is no business of the next one.

// mixed exposes functions that end in all ways; each first looks whether its context is its own.
func mixed(t *testing.T, n *Node) (goroutines *sync.Map, late *atomic.Int64) {
	goroutines, late = new(sync.Map), new(atomic.Int64)
	var after sync.WaitGroup
	t.Cleanup(after.Wait)
	expose := func(name string, f func(ctx context.Context, arg int) (int, error)) {
		n.Expose("m", name, FuncOf(func(ctx context.Context, arg int) (int, error) {
			b := make([]byte, 64)
			goroutine, _, _ := bytes.Cut(b[:runtime.Stack(b, false)], []byte(" ["))
			goroutines.Store(string(goroutine), true)
			if ctx.Err() != nil || CallerOf(ctx).Node != "bob@test" || ConnOf(ctx).Name() != "bob@test" {
				return 0, fmt.Errorf("not its own context: %v, %v", ctx.Err(), CallerOf(ctx))
			}
			after.Go(func() { // the context ends with the function, for those too that it leaves behind
				select {
				case <-ctx.Done():
				case <-time.After(tooLong):
					late.Add(1)
				}
			})
			return f(ctx, arg)
		}))
	}
	expose("echo", func(_ context.Context, arg int) (int, error) { return arg, nil })
	expose("block", func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
	expose("panic", func(_ context.Context, arg int) (int, error) { panic(fmt.Sprint("panic ", arg)) })
	expose("goexit", func(context.Context, int) (int, error) { runtime.Goexit(); return 0, nil })
	expose("back", func(ctx context.Context, arg int) (int, error) {
		return ERPCAs[int](ctx, n, ConnOf(ctx).Name(), "m", "double", arg)
	})
	expose("receive", func(ctx context.Context, _ int) (int, error) {
		_, err := MailboxOf(ctx).Receive(ctx)
		return 0, err
	})
	return goroutines, late
}

func TestFunctionsOnKeptGoroutines(t *testing.T) {
	w := newWorld(t, "tcp")
	n, bob := w.started("alice"), w.started("bob")
	bob.Expose("m", "double", FuncOf(func(n int) int { return 2 * n }))
	goroutines, late := mixed(t, n)
	ways := map[string]func(ctx context.Context, f string, arg int) (int, error){
		"rpc": func(ctx context.Context, f string, arg int) (int, error) {
			return RPCAs[int](ctx, bob, "alice@test", "m", f, arg)
		},
		"erpc": func(ctx context.Context, f string, arg int) (int, error) {
			return ERPCAs[int](ctx, bob, "alice@test", "m", f, arg)
		},
	}
	raised := func(err error, reason ei.Term) error {
		var r *Raise
		if !errors.As(err, &r) || ei.Compare(r.Reason, reason) != 0 {
			return fmt.Errorf("%v in place of %v", err, reason)
		}
		return nil
	}
	once := func(way string, arg int) error {
		call := ways[way]
		ctx := w.ctx()
		is := func(got int, err error, want int) error {
			if err != nil || got != want {
				return fmt.Errorf("%v, %w in place of %v", got, err, want)
			}
			return nil
		}
		switch rand.IntN(9) {
		case 0:
			_, err := call(ctx, "panic", arg)
			return raised(err, ei.Tuple{ei.Atom("go_panic"), ei.Binary(fmt.Sprint("panic ", arg))})
		case 1:
			if _, err := call(ctx, "goexit", arg); err == nil || !strings.Contains(err.Error(), "killed") {
				return fmt.Errorf("%w in place of killed", err)
			}
		case 2: // given up
			brief, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(3000))*time.Microsecond)
			defer cancel()
			if _, err := call(brief, "block", arg); !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("%w of what blocks", err)
			}
		case 3: // killed
			b, err := bob.NewMailbox(nil)
			if err != nil {
				return err
			}
			defer b.Close()
			pid, ref, err := b.SpawnMonitor(ctx, "alice@test", "m", []string{"block", "receive"}[arg%2], arg)
			if err == nil {
				err = b.SendExit(ctx, pid, ei.Atom("kill"))
			}
			if err != nil {
				return err
			}
			m, err := b.Receive(ctx)
			if err != nil || m.Op != dist.OpMonitorPExit || m.Ref != ref {
				return fmt.Errorf("%v, %w", m, err)
			}
			if why, _ := m.Reason.Decode(); why != ei.Atom("killed") {
				return fmt.Errorf("%v in place of killed", why)
			}
		case 4:
			got, err := call(ctx, "back", arg)
			return is(got, err, 2*arg)
		default:
			got, err := call(ctx, "echo", arg)
			return is(got, err, arg)
		}
		return nil
	}
	const callers, times = 16, 60
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for j := range times {
				assert.NoError(t, once([]string{"rpc", "erpc"}[(i+j)%2], i*times+j))
			}
		})
	}
	all.Wait()
	require.Eventually(t, func() bool { return n.Stats().Calls == 0 && n.Stats().Mailboxes == 2 }, tooLong, tick, "what was given up ends")
	ran := 0
	goroutines.Range(func(any, any) bool { ran++; return true })
	require.Less(t, ran, callers*times/2, "most have run on a goroutine of another one")
	require.NoError(t, n.Close())
	require.True(t, n.goroutines.None(), "Close has ended those that were idle")
	require.Zero(t, late.Load())
}

// Functions that block delay nothing else of the same peer: neither calls, with whose results
// theirs might go out, nor messages. (The time is that of the bubble: it passes when all else
// waits.)
func TestBlockedFunctionsDelayNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		n, bob := w.started("alice", func(cfg *Config) { cfg.MaxCalls = 1000 }), w.started("bob")
		n.Expose("m", "echo", FuncOf(func(n int) int { return n }))
		n.Expose("m", "block", FuncOf(func() { time.Sleep(time.Hour) }))
		serve(t, n, "s", Server{Call: func(_ context.Context, c *Call) (any, error) { return c.Request, nil }})
		ctx := context.Background()
		of(RPCAs[int](ctx, bob, "alice@test", "m", "echo", 0)).must(t) // the connection is up
		var blocked sync.WaitGroup
		for i := range 20 {
			blocked.Go(func() {
				call := bob.RPC
				if i%2 == 0 {
					call = bob.ERPC
				}
				of(call(ctx, "alice@test", "m", "block")).must(t)
			})
		}
		synctest.Wait()
		require.Equal(t, 20, n.Stats().Calls)
		begun := time.Now()
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				for range 10 {
					got := of(RPCAs[int](ctx, bob, "alice@test", "m", "echo", i)).must(t)
					require.Equal(t, i, got)
					got = of(ERPCAs[int](ctx, bob, "alice@test", "m", "echo", i)).must(t)
					require.Equal(t, i, got)
					got = of(CallNameAs[int](ctx, bob, "alice@test", "s", i)).must(t)
					require.Equal(t, i, got)
				}
			})
		}
		all.Wait()
		require.Less(t, time.Since(begun), time.Millisecond)
		require.Equal(t, 20, n.Stats().Calls)
		blocked.Wait()
	})
}

// The context of a function, which is made as far as it is asked for, is one like others.
func TestFunctionContext(t *testing.T) {
	n := newWorld(t, "memory").started("alice")
	begun, ends := make(chan context.Context), make(chan struct{})
	n.Expose("m", "f", func(ctx context.Context, _ []ei.Term) (any, error) { begun <- ctx; <-ends; return 1, nil })
	call := func() (context.Context, <-chan result[ei.Term]) {
		done := async(func() (ei.Term, error) { return n.ERPC(soon(t), "alice@test", "m", "f") })
		return arrives(t, begun, "the function"), done
	}
	type key struct{}

	asked, done := call() // before its end
	within, cancel := context.WithCancel(context.WithValue(asked, key{}, 7))
	defer cancel()
	stop := make(chan struct{})
	defer context.AfterFunc(within, func() { close(stop) })()
	require.NoError(t, asked.Err())
	_, has := asked.Deadline()
	require.False(t, has)
	require.Nil(t, asked.Value(key{}))
	require.Equal(t, 7, within.Value(key{}))
	require.Equal(t, runOf(asked), runOf(within))
	require.NotContains(t, fmt.Sprint(within), "0x", "what is within is not printed")
	ends <- struct{}{}
	require.NoError(t, arrives(t, done, "the result").err)
	arrives(t, asked.Done(), "the end")
	arrives(t, within.Done(), "the end")
	arrives(t, stop, "the function after that")
	require.Equal(t, context.Canceled, asked.Err())
	require.Equal(t, context.Canceled, within.Err())
	require.Equal(t, context.Canceled, context.Cause(within))

	late, done := call() // afterwards
	ends <- struct{}{}
	require.NoError(t, arrives(t, done, "the result").err)
	require.Eventually(t, func() bool { return late.Err() == context.Canceled }, tooLong, tick)
	arrives(t, late.Done(), "the end")
	require.Equal(t, context.Canceled, context.Cause(late))

	closed, _ := call() // with its node
	other, _ := call()
	done2 := other.Done()
	go n.Close()
	arrives(t, done2, "the end")
	arrives(t, closed.Done(), "the end")
	require.Equal(t, context.Canceled, closed.Err())
	require.Equal(t, context.Canceled, other.Err())
	require.ErrorIs(t, context.Cause(other), ErrClosed)
	close(ends)
}
