package nodes

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// A bulky is large in Go, whatever a peer sends of it.
type bulky struct {
	A [1000]int
	S string
}

// empties is an encoded list of n empty maps, of five bytes each.
func empties(n int) ei.Raw {
	b := append(ei.AppendListHeader(nil, n), bytes.Repeat([]byte{byte(ei.TagMapExt), 0, 0, 0, 0}, n)...)
	return ei.AppendNil(b)
}

// waysToCall gives the ways to call what is exposed as m:f, and served as f, as another node does.
func waysToCall(ctx context.Context, bob *Node, node string) map[string]func(args ...any) (ei.Term, error) {
	return map[string]func(args ...any) (ei.Term, error){
		"rpc":  func(args ...any) (ei.Term, error) { return bob.RPC(ctx, node, "m", "f", args...) },
		"erpc": func(args ...any) (ei.Term, error) { return bob.ERPC(ctx, node, "m", "f", args...) },
		"On": func(args ...any) (ei.Term, error) {
			t, err := bob.CallName(ctx, node, "f", ei.T("f", args...))
			if reply, ok := t.(ei.Tuple); ok && reply[0] == ei.Atom("error") {
				err = errors.New(reply.String())
			}
			return t, err
		},
	}
}

// What the arguments of a function become takes no more than ten times what came, or 16 MiB: not
// even if there are many of them.
func TestFunctionMemory(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice")
	f := FuncOf(func(all ...[]bulky) int { return len(all) })
	n.Expose("m", "f", f)
	serve(t, n, "f", Server{On: map[string]Func{"f": f}})
	for name, call := range waysToCall(w.ctx(), w.started("bob"), "alice@test") {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, ei.Int(2), of(call(empties(100), empties(100))).must(t))
			var many []any
			for range 200 {
				many = append(many, empties(1000)) // 8 MB each: a megabyte in all
			}
			for _, args := range [][]any{{empties(1 << 20)}, many} {
				size, err := 0, error(nil)
				for _, arg := range args {
					size += len(arg.(ei.Raw))
				}
				used := allocatedBy(func() { _, err = call(args...) })
				require.ErrorContains(t, err, "badarg")
				require.LessOrEqual(t, used, max(16<<20, 10*size)+8*size+1<<20, "the messages included")
			}
		})
	}
	require.Eventually(t, func() bool { return n.requests.Held() == 0 }, tooLong, tick)
}

// It counts towards the caller's share of Config.OverflowLimit, until the function has returned.
func TestFunctionMemoryIsShared(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice", func(cfg *Config) { cfg.OverflowLimit = 4 << 20 })
	bob := w.started("bob")
	running, release := make(chan int, 1), make(chan struct{})
	f := FuncOf(func(all []bulky) int {
		running <- n.requests.Held()
		<-release
		return len(all)
	})
	n.Expose("m", "f", f)
	serve(t, n, "f", Server{On: map[string]Func{"f": f}})
	const size = 150 * 8016 // of 2 MB
	for name, call := range waysToCall(w.ctx(), bob, "alice@test") {
		t.Run(name, func(t *testing.T) {
			first := async(func() (ei.Term, error) { return call(empties(150)) })
			held := arrives(t, running, "the call")
			require.GreaterOrEqual(t, held, size)
			require.Less(t, held, size*3/2)
			for _, other := range waysToCall(w.ctx(), bob, "alice@test") {
				if name == "On" {
					break // the server is busy
				}
				_, err := other(empties(150))
				require.ErrorContains(t, err, "system_limit")
			}
			release <- struct{}{}
			got := arrives(t, first, "the answer")
			require.NoError(t, got.err)
			require.Equal(t, ei.Int(150), got.v)
			require.Eventually(t, func() bool { return n.requests.Held() == 0 }, tooLong, tick)
		})
	}
	require.EqualValues(t, 6, n.Stats().CallsRefused)
}

// Terms count, too; but a request of any size gets through of a peer that has no other one.
func TestFunctionMemoryOfTerms(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice", func(cfg *Config) { cfg.OverflowLimit = 1 << 20 })
	n.Expose("m", "f", func(_ context.Context, args []ei.Term) (any, error) { return len(args), nil })
	typed := FuncOf(func(ei.Term) int { return 1 })
	n.Expose("m", "typed", typed)
	serve(t, n, "f", Server{
		On:   map[string]Func{"f": func(_ context.Context, args []ei.Term) (any, error) { return len(args), nil }},
		Call: func(context.Context, *Call) (any, error) { return 1, nil },
	})
	bob := w.started("bob")
	calls := waysToCall(w.ctx(), bob, "alice@test")
	calls["typed"] = func(args ...any) (ei.Term, error) { return bob.RPC(w.ctx(), "alice@test", "m", "typed", args...) }
	calls["Call"] = func(args ...any) (ei.Term, error) { return bob.CallName(w.ctx(), "alice@test", "f", args[0]) }
	nils := append(append(ei.AppendListHeader(nil, 1<<20), strings.Repeat("j", 1<<20)...), 'j')
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, ei.Int(1), of(call(ei.Binary(make([]byte, 5<<20)))).must(t))
			got, err := call(ei.Raw(nils)) // 16 MB
			if name == "Call" {
				require.Equal(t, ei.Tuple{ei.Atom("error"), ei.Atom("system_limit")}, got)
			} else {
				require.ErrorContains(t, err, "system_limit")
			}
		})
	}
	require.Eventually(t, func() bool { return n.requests.Held() == 0 }, tooLong, tick)
}
