package nodestest_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/nodestest"
)

// Nothing may outlive the test that has made it.
func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// both runs a test outside a synctest bubble and inside one.
func both(t *testing.T, f func(t *testing.T)) {
	t.Run("plain", f)
	t.Run("bubble", func(t *testing.T) { synctest.Test(t, f) })
}

func TestPairIsConnected(t *testing.T) {
	both(t, func(t *testing.T) {
		a, b := nodestest.Pair(t, func(cfg *nodes.Config) { cfg.Visible = true })
		assert.Equal(t, "a@test", a.Name())
		require.NotNil(t, a.Conn("b@test"))
		assert.True(t, b.Visible())
		b.Expose("m", "f", nodes.FuncOf(func(n int) int { return n + 1 }))
		got, err := nodes.ERPCAs[int](t.Context(), a, "b@test", "m", "f", 1)
		require.NoError(t, err)
		assert.Equal(t, 2, got)
	})
}

func TestClusterIsAMesh(t *testing.T) {
	both(t, func(t *testing.T) {
		all := nodestest.Cluster(t, 4)
		for _, n := range all {
			for _, other := range all {
				if n == other {
					continue
				}
				_, err := n.ERPC(nodes.NoConnect(t.Context()), other.Name(), "no", "function")
				var undef *nodes.Raise
				require.ErrorAs(t, err, &undef)
				assert.Equal(t, ei.Atom("undef"), undef.Reason)
			}
		}
	})
}

// What a BEAM sends has the bytes of a BEAM.
func TestTermsOfABEAM(t *testing.T) {
	for text, want := range map[string]string{
		`[1,2,3]`:                   "\x6b\x00\x03\x01\x02\x03",
		`"ab"`:                      "\x6b\x00\x02ab",
		`[]`:                        "\x6a",
		`[256]`:                     "\x6c\x00\x00\x00\x01\x62\x00\x00\x01\x00\x6a",
		`{ok,[1]}`:                  "\x68\x02\x77\x02ok\x6b\x00\x01\x01",
		`[[1]|[2]]`:                 "\x6c\x00\x00\x00\x02\x6b\x00\x01\x01\x61\x02\x6a",
		`[[1]|a]`:                   "\x6c\x00\x00\x00\x01\x6b\x00\x01\x01\x77\x01a",
		`#{[1] => [2]}`:             "\x74\x00\x00\x00\x01\x6b\x00\x01\x01\x6b\x00\x01\x02",
		`[-1]`:                      "\x6c\x00\x00\x00\x01\x62\xff\xff\xff\xff\x6a",
		`{<<"abc">>,'an atom',1.5}`: "\x68\x03\x6d\x00\x00\x00\x03abc\x77\x07an atom\x46\x3f\xf8\x00\x00\x00\x00\x00\x00",
	} {
		b, err := ei.AppendTerm(nil, nodestest.Term(text))
		require.NoError(t, err, text)
		assert.Equal(t, want, string(b), text)
	}
	assert.Panics(t, func() { nodestest.Term("{") })
}

// raw is what a Server gets, as it came.
func raw(t *testing.T, n *nodes.Node) <-chan []byte {
	got := make(chan []byte, 1)
	_, err := n.Handle("raw", func(_ *nodes.Mailbox, m *nodes.Message) { got <- append([]byte(nil), m.Payload...) }, nil)
	require.NoError(t, err)
	return got
}

func TestBEAMSends(t *testing.T) {
	both(t, func(t *testing.T) {
		net := nodestest.New(t)
		a, x := net.Node("a"), net.BEAM("x")
		got := raw(t, a)
		require.NoError(t, x.Send("a@test", "raw", `[1,2]`))
		assert.Equal(t, []byte("\x6b\x00\x02\x01\x02"), <-got)
		assert.Error(t, x.Send("a@test", "raw", `[`))

		a.Expose("m", "f", nodes.FuncOf(func(name string, of []int) string { return name }))
		v, err := x.RPC("a@test", "m", "f", `<<"b">>`, `[1,2]`)
		require.NoError(t, err)
		assert.Equal(t, `<<"b">>`, v.String())
		assert.True(t, a.Conn("x@test").Peer().Announced.Has(dist.FlagPublished), "visible")

		x.Expose("m", "bytes", nodes.FuncOf(func() []int { return []int{1, 2} })) // a Go value, too
		term, err := a.RPC(t.Context(), "x@test", "m", "bytes")
		require.NoError(t, err)
		assert.Equal(t, ei.String("\x01\x02"), term)
	})
}

func TestBEAMRaises(t *testing.T) {
	both(t, func(t *testing.T) {
		net := nodestest.New(t)
		a, x := net.Node("a"), net.BEAM("x")
		for class, want := range map[nodes.Class]string{
			nodes.ClassError: `{{bad,"x"},[]}`, nodes.ClassExit: `{bad,"x"}`, nodes.ClassThrow: `{bad_return_value,{bad,"x"}}`,
		} {
			f := nodestest.Raises(class, `{bad, "x"}`)
			x.Expose("m", "f", f)
			_, err := a.ERPC(t.Context(), "x@test", "m", "f")
			var e *nodes.Raise
			require.ErrorAs(t, err, &e)
			assert.Equal(t, class, e.Class)
			assert.Equal(t, `{bad,"x"}`, e.Reason.String())

			x.Serve("s", f)
			for range 2 { // it is started again
				_, err = a.CallName(t.Context(), "x@test", "s", ei.Atom("q"))
				var exit *nodes.ExitError
				require.ErrorAs(t, err, &exit)
				assert.Equal(t, want, exit.Reason.String())
			}
		}
		x.Serve("s", func(context.Context, []ei.Term) (any, error) { return nil, errors.New("no") })
		_, err := a.CallName(t.Context(), "x@test", "s", ei.Atom("q"))
		assert.ErrorContains(t, err, "go_error")
		x.Serve("s", nodestest.Returns("fine"))
		v, err := a.CallName(t.Context(), "x@test", "s", ei.Atom("q"))
		require.NoError(t, err)
		assert.Equal(t, ei.Atom("fine"), v)
	})
}

func TestBEAMHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := nodestest.New(t)
		a, x := net.Node("a"), net.BEAM("x")
		x.Expose("m", "f", nodestest.Hangs())
		x.Serve("s", nodestest.Hangs())
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := a.ERPC(ctx, "x@test", "m", "f")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		began := time.Now()
		_, err = x.Call("x@test", "s", "q")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 5*time.Second, time.Since(began))
	})
}

func TestBEAMComesBack(t *testing.T) {
	both(t, func(t *testing.T) {
		net := nodestest.New(t)
		a, x := net.Node("a"), net.BEAM("x")
		x.Serve("s", nodestest.Returns("1"))
		x.Expose("m", "f", nodestest.Returns("2"))
		net.Connect(a, x)
		net.Connect(a, x) // they are
		first := x.Node().Creation()

		c := a.Conn("x@test")
		x.Stop()
		x.Stop()
		<-c.Done()
		assert.Nil(t, x.Node())
		_, err := x.Call("a@test", "s", "q")
		assert.ErrorIs(t, err, nodestest.ErrDown)
		_, err = a.ERPC(t.Context(), "x@test", "m", "f")
		assert.ErrorIs(t, err, nodes.ErrNoConnection)
		assert.ErrorIs(t, err, nodes.ErrUnknownNode)

		x.Serve("s", nodestest.Returns("3")) // while it is down
		x.Start()
		x.Start()
		assert.NotEqual(t, first, x.Node().Creation())
		v, err := a.CallName(t.Context(), "x@test", "s", ei.Atom("q"))
		require.NoError(t, err)
		assert.Equal(t, ei.Int(3), v)
		_, err = a.ERPC(t.Context(), "x@test", "m", "f")
		require.NoError(t, err)
	})
}

func TestNetCuts(t *testing.T) {
	both(t, func(t *testing.T) {
		net := nodestest.New(t)
		a, b, other := net.Node("a"), net.Node("b"), net.Node("c")
		net.Connect(a, b)
		net.Connect(b, other)
		c, far, rest := a.Conn("b@test"), b.Conn("a@test"), b.Conn("c@test")
		net.Disconnect(b, a)
		<-c.Done()
		<-far.Done()
		net.Connect(b, a)

		c = b.Conn("a@test")
		net.Cut(a, b)
		<-c.Done()
		for _, way := range [][2]*nodes.Node{{a, b}, {b, a}} {
			_, err := way[0].ERPC(t.Context(), way[1].Name(), "m", "f")
			require.ErrorIs(t, err, nodes.ErrNoConnection)
		}
		net.Mend(b, a)
		net.Connect(a, b)
		assert.NoError(t, rest.Err(), "c has nothing to do with it")
	})
}

// What is on its way through a silent network arrives when it is mended in time.
func TestNetSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := nodestest.New(t)
		a, b := net.Node("a"), net.Node("b")
		got := raw(t, b)
		box, err := a.NewMailbox(nil)
		require.NoError(t, err)
		net.Connect(a, b)
		net.Silence(a, b)
		require.NoError(t, box.SendName(t.Context(), "b@test", "raw", 1))
		time.Sleep(30 * time.Second)
		assert.Empty(t, got)
		net.Mend(a, b)
		assert.Equal(t, []byte{97, 1}, <-got)
		time.Sleep(30 * time.Second)
		assert.NotNil(t, a.Conn("b@test"), "ticks have come")

		net.Silence(a, b)
		began := time.Now()
		<-a.Conn("b@test").Done()
		assert.InDelta(t, 60, time.Since(began).Seconds(), 16, "net_ticktime")
	})
}

// What cannot be made fails the test.
func TestFailsTheTest(t *testing.T) {
	assert.True(t, fails(t, func(f *failing) { nodestest.New(f).Node("no name") }))
	assert.True(t, fails(t, func(f *failing) { net := nodestest.New(f); net.Node("a"); net.Node("a") }))
	assert.True(t, fails(t, func(f *failing) {
		net := nodestest.New(f)
		a, x := net.Node("a"), net.BEAM("x")
		x.Stop()
		net.Connect(a, x)
	}))
}

// A failing test is one that should fail.
type failing struct {
	*testing.T
	ended bool
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(string, ...any) { f.ended = true; panic(f) }

func fails(t *testing.T, test func(f *failing)) (failed bool) {
	f := &failing{T: t}
	defer func() {
		if p := recover(); p != nil && p != any(f) {
			panic(p)
		}
		failed = f.ended
	}()
	test(f)
	return
}

func TestServeAlone(t *testing.T) {
	both(t, func(t *testing.T) {
		var told []string
		p := nodestest.Serve(t, nodes.Server{
			On:   map[string]nodes.Func{"add": nodes.FuncOf(func(a, b int) int { return a + b }), "die": nodes.FuncOf(func() { panic("oh") })},
			Cast: func(_ context.Context, r ei.Term) { told = append(told, "cast "+r.String()) },
			Info: func(_ context.Context, _ *nodes.Mailbox, m *nodes.Message) {
				term, _ := m.Term()
				told = append(told, term.String())
			},
		}, func(o *nodes.MailboxOptions) { o.TrapExit = true })
		p.Cast("x")
		p.Tell(nodestest.Term(`{tcp, "ab"}`))
		sum, err := nodestest.Call[int](p, nodestest.Term(`{add, 1, 2}`))
		require.NoError(t, err)
		assert.Equal(t, 3, sum)
		assert.Equal(t, []string{`cast <<"x">>`, `{tcp,"ab"}`}, told)

		_, err = nodestest.Call[int](p, ei.T("add", 1))
		var reason *ei.ReasonError
		assert.ErrorAs(t, err, &reason)
		_, err = nodestest.Call[int](p, ei.Atom("die"))
		assert.ErrorAs(t, err, new(*nodes.ExitError))
		<-p.Done()
	})
}
