//go:build unix

package pg

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/pg"
)

// The Go node goes on elsewhere, as in another process: no member leaves, on either side, changes
// during the move arrive after it, and the program's Setup is the same in both.
func TestMove(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := start(t, r, port)
		scope := scopeOf(t, erl)
		erl.Do(t, `pg:monitor_scope(), net_kernel:monitor_nodes(true, #{node_type => all})`)
		both(t, func(t *testing.T, visible bool) {
			g := ei.Atom("g")
			var s *pg.Scope
			var server, plain *nodes.Mailbox
			cfg := goConfig(t, port, visible)
			cfg.Setup = func(n *nodes.Node) (err error) {
				if s, err = pg.Start(t.Context(), n, "", nil); err != nil {
					return err
				}
				if server, err = n.Handle("server", func(*nodes.Mailbox, *nodes.Message) {}, nil); err != nil {
					return err
				}
				return s.Join(soon(t), g, server)
			}
			n, err := nodes.New(cfg)
			require.NoError(t, err)
			require.NoError(t, n.Start(soon(t)))
			plain = box(t, n)
			require.NoError(t, s.Join(soon(t), 1, plain, server))
			connect(t, n, erl)
			member(t, erl, "m", "g")
			sees(t, s, g, erl.Name(), n.Name())
			seesErl(t, erl, "g", erl.Name(), n.Name())
			erl.Do(t, `F = fun F() -> receive _ -> F() after 0 -> ok end end, F()`)
			for i := range 5 {
				before := s
				frozen, err := n.Freeze(soon(t))
				require.NoError(t, err)
				fds := gonode.Duplicates(t, frozen)
				state := frozen.State()
				erl.Do(t, `register(during, spawn(fun() -> receive stop -> ok end end)), pg:join(g, whereis(during))`)
				if i == 2 { // it fails, and goes on here
					for _, fd := range fds {
						unix.Close(fd)
					}
					frozen.Thaw()
				} else {
					require.NoError(t, frozen.Release())
					staged, err := nodes.Restore(cfg, state, fds)
					require.NoError(t, err)
					require.NoError(t, staged.Start(soon(t)))
					n = staged.Node()
					<-before.Done()
					require.ErrorIs(t, before.Err(), nodes.ErrMoved)
					require.ErrorIs(t, before.Join(soon(t), g, plain), nodes.ErrMoved)
					for _, b := range staged.Mailboxes() {
						plain = b
					}
				}
				sees(t, s, g, erl.Name(), erl.Name(), n.Name())
				sees(t, s, 1, n.Name(), n.Name())
				stop(t, erl, "during")
				sees(t, s, g, erl.Name(), n.Name())
				require.NoError(t, s.Join(soon(t), g, plain))
				seesErl(t, erl, "g", erl.Name(), n.Name(), n.Name())
				require.NoError(t, s.Leave(soon(t), g, plain))
				seesErl(t, erl, "g", erl.Name(), n.Name())
				require.Equal(t, "[join,join,leave,leave]", erl.Do(t, told+
					`F = fun F(All) -> receive {_, What, g, [_]} -> F([What | All]);
		Other -> F([Other | All]) after 0 -> lists:sort(All) end end, F([])`))
			}
			plain.Close()
			seesErl(t, erl, "1", n.Name())
			require.NoError(t, n.Close())
			seesErl(t, erl, "g", erl.Name())
			require.NoError(t, s.Close())
			stop(t, erl, "m")
		})
		require.Equal(t, scope, scopeOf(t, erl))
	})
}
