//go:build unix

package global

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
)

// move has a Go node go on as another one, as in another process. Setup also registers the names.
func (m *member) move(t testing.TB, cfg nodes.Config, boxes ...string) (moved map[string]*nodes.Mailbox) {
	t.Helper()
	moved = map[string]*nodes.Mailbox{}
	cfg.Setup = func(n *nodes.Node) (err error) {
		for _, name := range boxes {
			if moved[name], err = n.NewMailbox(nil); err != nil {
				return err
			}
			if err := n.Register(t.Context(), name, moved[name]); err != nil {
				return err
			}
		}
		m.Global, err = global.Start(t.Context(), n, nil)
		return err
	}
	s := gonode.Move(t, m.n, cfg)
	t.Cleanup(func() { s.Node().Close() })
	for _, b := range s.Mailboxes() {
		b.Close()
	}
	m.n = s.Node()
	return moved
}

// A Go node moves to another process: names, locks, and who is known stay, and what comes later is
// as before.
func TestMove(t *testing.T) {
	pairs(t, func(t *testing.T, r, other otp.Release) {
		port := r.Epmd(t)
		a, b := r.Start(t, otp.Options{EpmdPort: port}), other.Start(t, otp.Options{EpmdPort: port})
		cfg := config(t, uniqueName("g"), port)
		m := member{}
		m.start(t, cfg)
		m.connect(t, a)
		meet(t, []member{m}, []*otp.Node{a})
		box, err := m.n.NewMailbox(nil)
		require.NoError(t, err)
		require.NoError(t, m.n.Register(t.Context(), "box", box))
		require.NoError(t, m.Register(within(t), "moves", box, global.RandomNotify))
		require.NoError(t, m.SetLock(within(t), box, global.Lock{Resource: "res"}))
		require.Equal(t, "yes", spawnNamed(t, a, "theirs", "random_exit_name"))
		pid := box.Pid()

		box = m.move(t, cfg, "box")["box"]
		require.Equal(t, pid, box.Pid())
		require.Equal(t, []string{a.Name()}, m.Known())
		got, ok := m.Whereis("moves")
		require.True(t, ok)
		require.Equal(t, pid, got)
		require.Contains(t, a.Eval(t, "nodes()"), m.n.Name())
		require.Equal(t, "false", a.Eval(t, "global:set_lock({res, self()}, [node() | nodes()], 0)"))
		require.NoError(t, m.DelLock(within(t), box, global.Lock{Resource: "res"}))
		require.Equal(t, "true", a.Eval(t, "R = global:set_lock({res, self()}, [node() | nodes()], 0), global:del_lock({res, self()}), R"))
		require.Equal(t, "no", spawnNamed(t, a, "moves", "random_exit_name"))
		another := m.process(t)
		require.NoError(t, m.Register(within(t), "another", another, global.Method{}))
		require.True(t, isPid(t, a, "another", another.Pid()))

		// monitors have moved along
		a.Eval(t, "exit(persistent_term:get({p, theirs}), kill)")
		eventually(t, func() bool { _, ok := m.Whereis("theirs"); return !ok })
		require.Equal(t, "yes", spawnNamed(t, b, "later", "random_exit_name"))
		b.Eval(t, "net_kernel:connect_node('"+a.Name()+"')")
		meet(t, []member{m}, []*otp.Node{a, b})
		_, ok = m.Whereis("later")
		require.True(t, ok)
		box.Close()
		eventually(t, func() bool { return whereis(t, b, "moves") == "undefined" })
	})
}

// It moves again and again while nodes meet, and names come and go: in the end all agree.
func TestMoveAmid(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		a, b := r.Start(t, otp.Options{EpmdPort: port}), r.Start(t, otp.Options{EpmdPort: port})
		cfg := config(t, uniqueName("g"), port)
		m := member{}
		m.start(t, cfg)
		z := startMember(t, uniqueName("z"), port)
		require.Equal(t, "yes", spawnNamed(t, b, "there", "random_exit_name"))
		var busy sync.WaitGroup
		names := a.Async(t, `[begin P = spawn(fun() -> receive stop -> ok end end), yes = global:register_name({n, I}, P),
			case I rem 2 of 0 -> ok; 1 -> global:unregister_name({n, I}) end end || I <- lists:seq(1, 40)], done`)
		box := z.process(t)
		busy.Go(func() {
			for i := range 20 {
				name := ei.Tuple{ei.Atom("go"), ei.Int(i)}
				if err := z.Register(within(t), name, box, global.Method{}); err != nil {
					t.Error(err)
				}
				if i < 19 {
					if err := z.Unregister(within(t), name); err != nil {
						t.Error(err)
					}
				}
			}
		})
		m.connect(t, a)
		for i := range 12 {
			switch i {
			case 3:
				z.connect(t, a)
			case 6:
				b.Eval(t, "net_kernel:connect_node('"+m.n.Name()+"')")
			}
			m.move(t, cfg)
		}
		require.Equal(t, "done", names())
		busy.Wait()
		meet(t, []member{m, z}, []*otp.Node{a, b})
		want := a.Eval(t, "lists:sort(global:registered_names())")
		require.Contains(t, want, "there")
		require.Contains(t, want, "{go,19}")
		require.Equal(t, want, b.Eval(t, "lists:sort(global:registered_names())"))
		for _, m := range []member{m, z} {
			require.Equal(t, want, ei.List(slices.Collect(m.Names())).String(), fmt.Sprint(m.n.Name()))
		}
	})
}
