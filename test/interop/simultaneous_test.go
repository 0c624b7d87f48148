package interop

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// When both sides connect at once the one whose name sorts first gives way. beforeAndAfter gives
// our node a name before, and one after, those of the Erlang nodes.
func beforeAndAfter(t *testing.T, f func(t *testing.T, name string)) {
	t.Helper()
	for _, name := range []string{"a", "z"} {
		t.Run(name, func(t *testing.T) { f(t, name+uniqueName()) })
	}
}

// one checks that both sides have the same single connection.
func one(t *testing.T, m *meeting) {
	t.Helper()
	got, err := m.n.RPC(background(t), m.erl.Name(), "erlang", "nodes", []any{term(t, "hidden")}...)
	require.NoError(t, err)
	require.Equal(t, "['"+m.n.Name()+"']", got.String())
	m.is(t, [][2]string{{`{net_adm:ping(N), nodes(hidden) =:= [N]}`, `{pong,true}`}})
	require.Equal(t, []string{m.erl.Name()}, m.n.Peers())
}

// Both dial at once, again and again: each round ends with one connection, whichever side has made
// it.
func simultaneousConnects(t *testing.T, m *meeting) {
	erl, port := m.erl, m.erl.EpmdPort()
	beforeAndAfter(t, func(t *testing.T, name string) {
		cfg := config(port)
		cfg.Name = name
		m := &meeting{erl: erl, n: startNode(t, cfg)}
		gaveUp := 0
		for range 30 {
			theirs := erl.Async(t, m.about("net_kernel:connect_node(N)"))
			c, err := m.n.Connect(background(t), erl.Name())
			require.NoError(t, err)
			require.Equal(t, m.n.Conn(erl.Name()), c)
			// Over TLS, beside other tests, connect_node is false in one of a thousand rounds. OTP has
			// no attempt under way then: its status for ours is ok. Why is not known.
			if theirs() != "true" {
				require.Equal(t, protocol.StatusOK, c.Peer().Status)
				gaveUp++
			}
			one(t, m)
			c = m.n.Conn(erl.Name())
			m.is(t, [][2]string{{`monitor_node(N, true), disconnect_node(N), receive {nodedown, N} -> nodes(hidden) end`, `[]`}})
			await(t, c.Done())
			require.Eventually(t, func() bool { return m.n.Conn(erl.Name()) == nil }, limit, 1e6)
		}
		require.LessOrEqual(t, gaveUp, 1)
	})
}

// Our attempt is under way when theirs comes in.
func simultaneousOurs(t *testing.T, m *meeting) {
	erl, port := m.erl, m.erl.EpmdPort()
	beforeAndAfter(t, func(t *testing.T, name string) {
		resolving, resolved := make(chan struct{}), make(chan struct{})
		cfg := config(port)
		cfg.Name = name
		cfg.Resolver = slowMapper{gonode.Mapper(port), func() { close(resolving); <-resolved }}
		failed := make(chan error, 1)
		cfg.HandshakeFailed = func(_ transport.Addr, err error) { failed <- err }
		m := &meeting{erl: erl, n: startNode(t, cfg)}
		var c *nodes.Conn
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { c, err = m.n.Connect(background(t), erl.Name()) })
		await(t, resolving)
		theirs := erl.Async(t, m.about("net_kernel:connect_node(N)"))
		if name < erl.Name() { // we give way
			require.Equal(t, "true", theirs())
			close(resolved)
			wg.Wait()
			require.NoError(t, err)
			require.Equal(t, protocol.StatusOKSimultaneous, c.Peer().Status)
		} else { // they wait
			require.ErrorIs(t, await(t, failed), dist.ErrNok)
			close(resolved)
			wg.Wait()
			require.NoError(t, err)
			require.Equal(t, "true", theirs())
		}
		one(t, m)
	})
}

// slowMapper is a port mapper whose first answer takes its time.
type slowMapper struct {
	*nodes.PortMapper
	first func()
}

func (s slowMapper) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	s.first()
	return s.PortMapper.Resolve(ctx, node)
}

// Their attempt is under way when ours comes in: it waits for our answer to its name until our
// attempt has been refused or has succeeded.
func simultaneousTheirs(t *testing.T, m *meeting) {
	needsTCP(t, "it has a carrier of its own")
	erl, port := m.erl, m.erl.EpmdPort()
	beforeAndAfter(t, func(t *testing.T, name string) {
		named, proceed := make(chan struct{}), make(chan struct{})
		ended := make(chan struct{}, 1)
		var begun atomic.Bool
		cfg := config(port)
		cfg.Name = name
		cfg.CheckPeer = func(ctx context.Context, _ string) error {
			if begun.CompareAndSwap(false, true) {
				close(named)
				select {
				case <-proceed:
				case <-ctx.Done():
				}
			}
			return nil
		}
		cfg.Transport = wrapped(func(c net.Conn, dialled bool) net.Conn {
			if dialled {
				return closing{c, ended}
			}
			return c
		})
		m := &meeting{erl: erl, n: startNode(t, cfg)}
		theirs := erl.Async(t, m.about("net_kernel:connect_node(N)"))
		await(t, named)
		if name < erl.Name() { // they go on, and we get nok
			var c *nodes.Conn
			var err error
			var wg sync.WaitGroup
			wg.Go(func() { c, err = m.n.Connect(background(t), erl.Name()) })
			await(t, ended)
			close(proceed)
			wg.Wait()
			require.NoError(t, err)
			require.Equal(t, m.n.Conn(erl.Name()), c)
		} else { // they give way
			c, err := m.n.Connect(background(t), erl.Name())
			require.NoError(t, err)
			require.Equal(t, protocol.StatusOKSimultaneous, c.Peer().Status)
			close(proceed)
		}
		require.Equal(t, "true", theirs())
		one(t, m)
	})
}

// Many of our goroutines want the same node at once: one connection is made, and all get it.
func connectTogether(t *testing.T, m *meeting) {
	for range 10 {
		errs := make(chan error)
		for i := range 20 {
			go func() {
				got, err := m.n.RPC(background(t), m.erl.Name(), "erlang", "abs", -i)
				if err == nil && got.String() != strconv.Itoa(i) {
					err = errors.New("another answer")
				}
				errs <- err
			}()
		}
		for range 20 {
			require.NoError(t, await(t, errs))
		}
		one(t, m)
		c := m.n.Conn(m.erl.Name())
		require.NoError(t, c.Close())
		m.is(t, [][2]string{{`(fun F() -> case nodes(hidden) of [] -> gone; _ -> timer:sleep(1), F() end end)()`, `gone`}})
	}
	require.EqualValues(t, 10, m.n.Stats().Connections)
}
