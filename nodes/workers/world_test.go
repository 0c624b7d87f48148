package workers

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"

	"github.com/cnode-go/cnode/transport"
)

// A world is a cluster in one process.
type world struct {
	*cluster.Cluster
	t testing.TB
}

func newWorld(t testing.TB) *world { return &world{cluster.Unix(t), t} }

func mustParse(s string) transport.Addr {
	addr, err := transport.ParseAddr(s)
	if err != nil {
		panic(err)
	}
	return addr
}

// node makes a node alive@test, which ends with the test.
func (w *world) node(alive string, edit ...func(*nodes.Config)) *nodes.Node {
	w.t.Helper()
	cfg := w.Config(alive + "@test")
	for _, f := range edit {
		f(&cfg)
	}
	return w.New(cfg)
}

// started is a node on the upper level.
func (w *world) started(alive string, edit ...func(*nodes.Config)) *nodes.Node {
	w.t.Helper()
	n := w.node(alive, edit...)
	require.NoError(w.t, n.Start(w.ctx()))
	return n
}

// ctx is for calls that are expected to succeed.
func (w *world) ctx() context.Context { return soon(w.t) }

// soon is a context for what must succeed: long enough for the slowest machine.
func soon(t testing.TB) context.Context { return expect.Context(t) }

// conn is a node's connection with a peer, once it is there.
func (w *world) conn(n *nodes.Node, peer string) (c *nodes.Conn) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { c = n.Conn(peer); return c != nil }, tooLong, tick)
	return c
}

// A result is what a call on another goroutine returned.
type result[T any] struct {
	v   T
	err error
}

func of[T any](v T, err error) result[T] { return result[T]{v, err} }

// must gives the result of what has to succeed.
func (r result[T]) must(t testing.TB) T {
	t.Helper()
	require.NoError(t, r.err)
	return r.v
}

// async runs f on a goroutine and gives its result.
func async[T any](f func() (T, error)) <-chan result[T] {
	c := make(chan result[T], 1)
	go func() { c <- of(f()) }()
	return c
}

// inTime fails the test if f, which must not wait for anything that takes long, does not return.
func inTime(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(tooLong):
		t.Errorf("%s does not return\n%s", what, stacks())
	}
}

// arrives fails the test if nothing comes from c.
func arrives[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(tooLong):
		require.FailNow(t, "it does not come: "+what, stacks())
		panic("unreachable")
	}
}

// ended gives the reason of a connection's end.
func ended(t testing.TB, c *nodes.Conn) error {
	t.Helper()
	arrives(t, c.Done(), fmt.Sprintf("the end of the connection to %s", c.Name()))
	return c.Err()
}

// tooLong and tick are for states of which no event tells.
const (
	tooLong = time.Minute
	tick    = time.Millisecond
)
