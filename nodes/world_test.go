package nodes

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	carrier "github.com/cnode-go/cnode/internal/test/packets"
	"github.com/cnode-go/cnode/internal/test/sockdir"

	"github.com/cnode-go/cnode/transport"
)

// A world is a cluster in one process: nodes that find each other in a table.
type world struct {
	t    testing.TB
	kind string
	tr   transport.Transport
	dir  string
	book *book
}

var kinds = []string{"tcp", "unix", "memory", "packets"}

func newWorld(t testing.TB, kind string) *world {
	w := &world{t: t, kind: kind, book: &book{at: Static{}}}
	switch kind {
	case "tcp":
		w.tr = transport.TCP()
	case "unix":
		w.tr, w.dir = transport.Unix(), sockdir.New(t)
	case "memory":
		w.tr = carrier.Patient(transport.NewMemory())
	case "packets": // a carrier that keeps them
		w.tr = carrier.Patient(carrier.Over(carrier.Patient(transport.NewMemory()), 0))
	}
	return w
}

// inWorlds runs a test in a world of each kind.
func inWorlds(t *testing.T, kinds []string, test func(t *testing.T, w *world)) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) { test(t, newWorld(t, kind)) })
	}
}

// bubble runs a test in a world in which time passes when all wait.
func bubble(t *testing.T, test func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, "memory")) })
}

// addr is where a node listens: a free port, or a place that bears its name.
func (w *world) addr(name string) transport.Addr {
	switch w.kind {
	case "tcp":
		return transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
	case "unix":
		return transport.UnixAddr(filepath.Join(w.dir, name))
	}
	return transport.MemoryAddr(name)
}

// node makes a node alive@test, which ends with the test.
func (w *world) node(alive string, edit ...func(*Config)) *Node {
	w.t.Helper()
	cfg := Config{Cookie: "secret", Transport: w.tr, Resolver: w.book}
	if alive == "" {
		cfg.Host = "test"
	} else {
		cfg.Name = alive + "@test"
		cfg.Listen = w.addr(cfg.Name)
	}
	for _, f := range edit {
		f(&cfg)
	}
	n := of(New(cfg)).must(w.t)
	n.freezeTime = tooLong // as a rule a freeze is to succeed, also on the slowest machine
	w.t.Cleanup(func() { inTime(w.t, "Close of "+cfg.Name, func() { n.Close() }) })
	return n
}

// listening is a node with a listener, on the lower level.
func (w *world) listening(alive string, edit ...func(*Config)) (*Node, *Listener) {
	w.t.Helper()
	n := w.node(alive, edit...)
	l := listen(w.t, n, n.cfg.Listen)
	require.NoError(w.t, n.Publish(w.ctx(), l))
	return n, l
}

// started is a node on the upper level.
func (w *world) started(alive string, edit ...func(*Config)) *Node {
	w.t.Helper()
	n := w.node(alive, edit...)
	require.NoError(w.t, n.Start(w.ctx()))
	return n
}

// ctx is for calls that are expected to succeed.
func (w *world) ctx() context.Context { return soon(w.t) }

// soon is a context for what must succeed: long enough for the slowest machine.
func soon(t testing.TB) context.Context { return expect.Context(t) }

// brief is a context for what must not succeed.
func brief(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(soon(t), 10*tick)
	t.Cleanup(cancel)
	return ctx
}

// conn is a node's connection with a peer, once it is there.
func (w *world) conn(n *Node, peer string) (c *Conn) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { c = n.Conn(peer); return c != nil }, tooLong, tick)
	return c
}

// startedAs makes and starts a node that is in no world.
func startedAs(t *testing.T, cfg Config) *Node {
	t.Helper()
	n := of(New(cfg)).must(t)
	t.Cleanup(func() { n.Close() })
	require.NoError(t, n.Start(soon(t)))
	return n
}

// pair connects alice to bob on the lower level: ca is alice's end.
func (w *world) pair(edit ...func(*Config)) (ca, cb *Conn) {
	w.t.Helper()
	a := w.node("alice", edit...)
	b, l := w.listening("bob", edit...)
	return w.join(a, b, l)
}

// join connects a to b, which accepts on l.
func (w *world) join(a, b *Node, l *Listener) (ca, cb *Conn) {
	w.t.Helper()
	accepted := async(func() (*Conn, error) { return l.Accept(w.ctx()) })
	return connect(w.t, a, b.Name()), (<-accepted).must(w.t)
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
func ended(t testing.TB, c *Conn) error {
	t.Helper()
	arrives(t, c.Done(), fmt.Sprintf("the end of the connection to %s", c.Name()))
	return c.Err()
}

// A book is a Resolver and Publisher: the table of a world.
type book struct {
	mu sync.Mutex
	at Static
}

func (b *book) Resolve(ctx context.Context, node string) (Endpoint, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at.Resolve(ctx, node)
}

func (b *book) Publish(_ context.Context, p Registration) (Publication, error) {
	b.set(p.Name, p.Addr)
	return entry{b, p.Name}, nil
}

func (b *book) set(node string, addr transport.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at[node] = Endpoint{Addr: addr}
}

type entry struct {
	b    *book
	name string
}

func (entry) Creation() uint32 { return 0 }

func (e entry) Close() error {
	e.b.mu.Lock()
	defer e.b.mu.Unlock()
	delete(e.b.at, e.name)
	return nil
}

// tooLong and tick are for states of which no event tells.
const (
	tooLong = time.Minute
	tick    = time.Millisecond
)
