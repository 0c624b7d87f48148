package global

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/line"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/transport"
)

// linePort is where the nodes at both ends of a line listen.
const linePort = 4370

// A network between two nodes breaks, and each goes on alone: names of the other one are gone, and
// are given to others. When it is whole again, each method settles who keeps the name.
func TestNetSplit(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		l := line.New(t, line.Options{Rate: 1e9})
		here, there := l.End(0), l.End(1)
		var e *otp.Node
		require.NoError(t, there.Do(func() error {
			e = r.Start(t, otp.Across("n", there.Addr(), linePort))
			return nil
		}))
		m := member{}
		cfg := config(t, "g@"+here.Addr(), 0)
		cfg.Transport, cfg.Resolver, cfg.TickInterval = here.Transport(transport.TCP()), nodes.FixedPort(linePort), time.Second
		cfg.Listen = transport.FromAddrPort(netip.MustParseAddrPort(fmt.Sprintf("%s:%d", here.Addr(), linePort)))
		m.start(t, cfg)
		m.connect(t, e)
		meet(t, []member{m}, []*otp.Node{e})

		methods := []string{"random_exit_name", "random_notify_name", "notify_all_name"}
		ours := map[string]*nodes.Mailbox{}
		for _, name := range methods {
			require.Equal(t, "yes", spawnNamed(t, e, name, name))
		}
		l.Cut()
		eventually(t, func() bool { return len(m.Known()) == 0 && len(slices.Collect(m.Names())) == 0 })
		eventually(t, func() bool { return e.Eval(t, "nodes()") == "[]" })
		for _, name := range methods {
			ours[name] = m.process(t)
			require.NoError(t, m.Register(within(t), name, ours[name], global.Method{Module: "global", Function: name}))
		}
		l.Mend()
		eventually(t, func() bool {
			_, err := m.n.Connect(within(t), e.Name())
			return err == nil
		})
		meet(t, []member{m}, []*otp.Node{e})
		require.True(t, isPid(t, e, "random_exit_name", ours["random_exit_name"].Pid()))
		require.Equal(t, "dead", got(t, e, "random_exit_name"))
		require.True(t, isPid(t, e, "random_notify_name", ours["random_notify_name"].Pid()))
		require.Equal(t, "[{global_name_conflict,random_notify_name}]", got(t, e, "random_notify_name"))
		require.Equal(t, "undefined", whereis(t, e, "notify_all_name"))
		require.Equal(t, ei.Atom("notify_all_name"), next(t, ours["notify_all_name"]).(ei.Tuple)[1])
	})
}

// When one connection of a whole cluster breaks, prevent_overlapping_partitions has each node be in
// one partition: nobody knows a node that does not know it.
func TestOverlap(t *testing.T) {
	pairs(t, func(t *testing.T, r, other otp.Release) {
		port := r.Epmd(t)
		a, b := r.Start(t, otp.Options{EpmdPort: port}), other.Start(t, otp.Options{EpmdPort: port})
		g, z := startMember(t, uniqueName("g"), port), startMember(t, uniqueName("z"), port)
		ms, es := []member{g, z}, []*otp.Node{a, b}
		for name, cut := range map[string]func(){
			"between Erlang nodes":    func() { a.Eval(t, "erlang:disconnect_node('"+b.Name()+"')") },
			"of a Go node, by Erlang": func() { a.Eval(t, "erlang:disconnect_node('"+g.n.Name()+"')") },
			"of a Go node, by itself": func() { g.n.Conn(a.Name()).Close() },
			"between Go nodes":        func() { z.n.Conn(g.n.Name()).Close() },
		} {
			// until all are there: partitions that have just been made do not heal by themselves
			for begun := time.Now(); time.Since(begun) < limit; {
				for _, m := range ms {
					_, _ = m.n.Connect(within(t), a.Name()) // meet tells who is not there
				}
				b.Eval(t, "net_kernel:connect_node('"+a.Name()+"')")
				if slices.IndexFunc(ms, func(m member) bool { return len(m.Known()) != 3 }) < 0 {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			meet(t, ms, es)
			cut()
			eventually(t, func() bool {
				parts := partitions(t, ms, es)
				for one, knows := range parts {
					for _, other := range knows {
						if !slices.Contains(parts[other], one) || len(parts[other]) != len(knows) {
							return false
						}
					}
				}
				return slices.IndexFunc(ms, func(m member) bool { return len(m.Known()) != 3 }) >= 0
			}, func() string { return fmt.Sprintf("%s: %v", name, partitions(t, ms, es)) })
			// whoever is not known is not connected
			eventually(t, func() bool {
				for _, m := range ms {
					for _, p := range m.n.Peers() {
						if !slices.Contains(m.Known(), p) {
							return false
						}
					}
				}
				return true
			}, func() string { return name })
		}
	})
}

// partitions are the nodes that each node knows.
func partitions(t *testing.T, ms []member, es []*otp.Node) map[string][]string {
	parts := map[string][]string{}
	for _, m := range ms {
		parts[m.n.Name()] = m.Known()
	}
	for _, e := range es {
		list, err := ei.Parse(e.Eval(t, "gen_server:call(global_name_server, get_known)"))
		require.NoError(t, err)
		parts[e.Name()] = []string{}
		known, _ := ei.Elements(list)
		for _, k := range known {
			parts[e.Name()] = append(parts[e.Name()], string(k.(ei.Atom)))
		}
	}
	return parts
}

// A node that is killed is gone from all, with its names, and whoever waits for its lock gets it.
func TestKill(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		a, b := r.Start(t, otp.Options{EpmdPort: port}), r.Start(t, otp.Options{EpmdPort: port})
		m := startMember(t, uniqueName("g"), port)
		m.connect(t, a)
		m.connect(t, b)
		meet(t, []member{m}, []*otp.Node{a, b})
		require.Equal(t, "yes", spawnNamed(t, b, "gone", "random_exit_name"))
		require.Equal(t, "true", b.Eval(t, "P = self(), spawn(fun() -> P ! {locked, global:set_lock({res, self()})}, "+
			"receive after infinity -> ok end end), receive {locked, Is} -> Is end"))
		// the lock of names, too, as if b had died in the middle of a registration
		b.Eval(t, "spawn(fun() -> global:set_lock({global, self()}), receive after infinity -> ok end end)")
		eventually(t, func() bool { return b.Eval(t, "ets:member(global_locks, global)") == "true" })
		box := m.process(t)
		registered := make(chan error, 1)
		go func() { registered <- m.Register(within(t), "gone", box, global.Method{}) }()
		b.Kill()
		eventually(t, func() bool { return slices.Equal(m.Known(), []string{a.Name()}) })
		if err := <-registered; err != nil { // it may have had its turn just before
			require.ErrorIs(t, err, global.ErrTaken)
			require.NoError(t, m.Register(within(t), "gone", box, global.Method{}))
		}
		require.True(t, isPid(t, a, "gone", box.Pid()))
		require.NoError(t, m.SetLock(within(t), box, global.Lock{Resource: "res"}))
		require.Contains(t, a.Eval(t, "nodes()"), m.n.Name())
	})
}

// A Go node that is killed is gone from all, with its names and locks.
func TestKillGo(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		a := r.Start(t, otp.Options{EpmdPort: port})
		name := uniqueName("go")
		p := served(t, name, port, 0)
		m := startMember(t, uniqueName("z"), port)
		require.Equal(t, "pong", a.Eval(t, text("net_adm:ping('%s')", name)))
		m.connect(t, a)
		meet(t, []member{m}, []*otp.Node{a}, name)
		require.Equal(t, "true", a.Eval(t, text("is_pid(rpc:call('%s', w, register, [gone]))", name)))
		_, ok := m.Whereis("gone")
		require.True(t, ok)
		p.Kill()
		eventually(t, func() bool { return whereis(t, a, "gone") == "undefined" })
		eventually(t, func() bool { _, ok := m.Whereis("gone"); return !ok })
		box := m.process(t)
		require.NoError(t, m.Register(within(t), "gone", box, global.Method{}))
		require.True(t, isPid(t, a, "gone", box.Pid()))
	})
}
