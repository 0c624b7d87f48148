package permission

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/console"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/genstage"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/groupleader"
	"github.com/cnode-go/cnode/nodes/observer"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/nodes/pubsub"
	"github.com/cnode-go/cnode/nodes/supervisor"
	"github.com/cnode-go/cnode/transport"
)

// A scene is a node that has all packages, all@host; a peer of it, which names victims; and two
// more nodes, of which one is connected.
type scene struct {
	t          *testing.T
	all, peer  *nodes.Node
	third, far *nodes.Node
	box        *nodes.Mailbox // the peer's
	fence      *nodes.Mailbox // of all@host: what it sends is behind what that has sent before

	mu     sync.Mutex
	wanted []string // whom all@host wants to connect to
}

func (s *scene) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = append(s.wanted, node)
	return addresses.Resolve(ctx, node)
}

var addresses = nodes.Static{
	"all@host": {Addr: transport.MemoryAddr("all")}, "peer@host": {Addr: transport.MemoryAddr("peer")},
	"third@host": {Addr: transport.MemoryAddr("third")}, "far@host": {Addr: transport.MemoryAddr("far")},
}

// newScene starts the nodes; rules are those of all@host.
func newScene(t *testing.T, rules ...nodes.Rule) *scene {
	s := &scene{t: t}
	tr := transport.NewMemory()
	start := func(name string, edit func(*nodes.Config)) *nodes.Node {
		cfg := nodes.Config{Name: name, Cookie: "secret", Transport: tr, Listen: addresses[name].Addr, Resolver: addresses,
			Visible: true, Logger: slog.New(slog.DiscardHandler)}
		edit(&cfg)
		n, err := nodes.New(cfg)
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		require.NoError(t, n.Start(expect.Context(t)))
		return n
	}
	plain := func(*nodes.Config) {}
	s.third, s.far, s.peer = start("third@host", plain), start("far@host", plain), start("peer@host", plain)
	s.all = start("all@host", func(cfg *nodes.Config) { cfg.Rules, cfg.Resolver, cfg.Setup = rules, s, setUp })
	for _, n := range []*nodes.Node{s.peer, s.third} {
		_, err := n.Connect(expect.Context(t), "all@host")
		require.NoError(t, err)
	}
	s.box, s.fence = s.mailbox(s.peer), s.mailbox(s.all)
	return s
}

func setUp(n *nodes.Node) error { return new(packages).start(n) }

// packages are what a node has that takes part in what a cluster has in common.
type packages struct {
	scope    *pg.Scope
	pubsub   *pubsub.PubSub
	presence *pubsub.Presence
	global   *global.Global
}

// start switches everything on.
func (p *packages) start(n *nodes.Node) (err error) {
	ctx := context.Background()
	if p.scope, err = pg.Start(ctx, n, pubsub.Scope, nil); err != nil {
		return err
	}
	if p.pubsub, err = pubsub.Start(ctx, n, "App.PubSub", &pubsub.Options{Scope: p.scope}); err != nil {
		return err
	}
	if p.presence, err = p.pubsub.StartPresence(ctx, "App.Presence", nil); err != nil {
		return err
	}
	if p.global, err = global.Start(ctx, n, nil); err != nil {
		return err
	}
	if _, err = groupleader.Serve(n, "user", io.Discard, nil); err != nil {
		return err
	}
	if _, err = supervisor.Start(ctx, n, "supervisor", nil, supervisor.Child{
		ID: "server", Start: func(_ context.Context, s *supervisor.Supervisor) (ei.Pid, error) {
			b, err := n.Serve("server", nodes.Server{
				Call: func(_ context.Context, c *nodes.Call) (any, error) { return c.Request, nil }, State: func() any { return 1 },
			}, &nodes.MailboxOptions{Parent: s.Pid()})
			if err != nil {
				return ei.Pid{}, err
			}
			return b.Pid(), nil
		},
	}); err != nil {
		return err
	}
	if _, err = genstage.Produce(n, "producer", nil, func(ctx context.Context, _ int) ([]int, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}); err != nil {
		return err
	}
	if _, err = genstage.SubscribeName(ctx, n, n.Name(), "producer", &genstage.Options{Name: "consumer"},
		func(context.Context, []int) error { return nil }); err != nil {
		return err
	}
	log := console.NewLog(slog.DiscardHandler)
	stop := func(context.Context) error { return nil }
	if err = observer.Serve(n, &observer.Options{Stop: stop, Environment: []string{"HOME"}}); err != nil {
		return err
	}
	return console.Serve(n, &console.Options{Level: new(slog.LevelVar), Log: log, Upgrade: func(context.Context) error { return nil }})
}

func (s *scene) mailbox(n *nodes.Node) *nodes.Mailbox {
	s.t.Helper()
	b, err := n.NewMailbox(&nodes.MailboxOptions{TrapExit: true})
	require.NoError(s.t, err)
	return b
}

// victims are processes that the peer names: of all@host, of a node that is connected to it, and of
// one that is not. The first one's name is victim.
type victims struct {
	s    *scene
	all  []*nodes.Mailbox
	seen map[string]bool // what was done to them
}

func (s *scene) victims() *victims {
	v := &victims{s: s, seen: map[string]bool{}}
	for _, n := range []*nodes.Node{s.all, s.third, s.far} {
		v.all = append(v.all, s.mailbox(n))
	}
	_ = s.all.Unregister(context.Background(), "victim")
	require.NoError(s.t, s.all.Register(context.Background(), "victim", v.all[0]))
	return v
}

// look notes what was done to the victims: send, link, exit or connect; ask is what looks like a
// request, in the name of all@host; watch, which tell looks for, a monitor that stays.
func (v *victims) look() {
	for _, b := range v.all[:2] {
		d, alive := b.Node().Process(b.Pid())
		if !alive {
			v.seen["exit"] = true
			continue
		}
		if len(d.LinkedWith) > 0 {
			v.seen["link"] = true
		}
		require.NoError(v.s.t, v.s.fence.Send(expect.Context(v.s.t), b.Pid(), ei.Atom("fence")))
		for {
			m, err := b.Receive(expect.Context(v.s.t))
			require.NoError(v.s.t, err)
			t, err := m.Term()
			if err == nil && t == ei.Atom("fence") {
				break
			}
			if m.Op == dist.OpExit {
				v.seen["exit"] = true
			} else {
				v.seen["send"] = true
			}
			if e, ok := t.(ei.Tuple); ok && (e[0] == ei.Atom("$gen_cast") || e[0] == ei.Term(b.Pid())) {
				v.seen["ask"] = true
			}
		}
	}
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	if len(v.s.wanted) > 0 || v.s.all.Conn("far@host") != nil {
		v.seen["connect"] = true
	}
}

func (v *victims) close() {
	for _, b := range v.all {
		_ = b.Close()
	}
}

// touches is what was seen, in order.
func (v *victims) touches() string {
	v.look()
	v.close()
	var list []string
	for what := range v.seen {
		list = append(list, what)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// try has the peer call a function with everything that names a victim, as the group leader too, as
// a process of its own.
func (v *victims) try(module, name string) {
	for i, b := range v.all {
		named := []ei.Term{b.Pid()}
		if i == 0 {
			named = append(named, ei.Atom("victim"))
		}
		for _, who := range named {
			for arity := range 6 {
				for at := range arity + 1 { // at == arity: everywhere
					args := make([]any, arity)
					for i := range args {
						args[i] = any(ei.Int(10))
						if i == at || at == arity {
							args[i] = who
						}
					}
					v.spawn(b.Pid(), module, name, args)
				}
			}
		}
	}
}

// spawn waits until the function has returned, or has done something to a victim.
func (v *victims) spawn(leader ei.Pid, module, name string, args []any) {
	t, box := v.s.t, v.s.box
	ctx := nodes.WithGroupLeader(expect.Context(t), leader)
	pid, ref, err := box.SpawnMonitor(ctx, "all@host", module, name, args...)
	require.NoError(t, err)
	for pause := time.Microsecond; ; pause *= 2 {
		soon, cancel := context.WithTimeout(ctx, pause)
		m, err := box.Receive(soon)
		cancel()
		switch {
		case err == nil && m.Op == dist.OpMonitorPExit && m.Ref == ref:
			return
		case err == nil:
			continue
		}
		require.NoError(t, ctx.Err(), "%s:%s %v does not end", module, name, args)
		if v.look(); len(v.seen) > 0 {
			require.NoError(t, box.SendExit(ctx, pid, ei.Atom("kill")))
		}
	}
}

// tell has the peer send a process everything that names a victim as the one to be answered, told,
// or watched: directly, and through rex.
func (v *victims) tell(name string) {
	t, box := v.s.t, v.s.box
	ref, err := v.s.peer.NewRef()
	require.NoError(t, err)
	atom := func(s string) ei.Term { return ei.Atom(s) }
	for _, b := range v.all {
		who := b.Pid()
		theirs := ei.Ref{Node: who.Node, Creation: who.Creation, Len: 3, ID: [5]uint32{1, 2, 3}}
		alias := ei.ImproperList{Elems: []ei.Term{atom("alias")}, Tail: theirs}
		var all []ei.Term
		for _, from := range []ei.Term{ei.Tuple{who, theirs}, ei.Tuple{who, ref}, ei.Tuple{who, alias}, ei.Tuple{who, atom("$gen_cast")},
			ei.Tuple{who, who}} {
			for _, request := range []ei.Term{
				atom("x"), ei.Tuple{atom("is_auth"), who.Node}, atom("which_children"), atom("get_known"), ei.Tuple{atom("sync"), ei.List{}},
				ei.Tuple{atom("register"), atom("x"), who, ei.Export{Module: "global", Function: "random_exit_name", Arity: 3}},
				ei.Tuple{atom("call"), atom("erlang"), atom("node"), ei.List{}, who},
			} {
				all = append(all, ei.Tuple{atom("$gen_call"), from, request})
			}
			all = append(all, ei.Tuple{atom("system"), from, atom("get_state")}, ei.Tuple{atom("system"), from, atom("get_status")},
				ei.Tuple{atom("whereis"), atom("x"), from},
				ei.Tuple{atom("$gen_consumer"), from, ei.List{ei.Int(1)}}, ei.Tuple{atom("$gen_consumer"), from, ei.Tuple{atom("cancel"), who}},
				ei.Tuple{atom("$gen_producer"), from, ei.Tuple{atom("subscribe"), atom("nil"), ei.List{}}},
				ei.Tuple{atom("$gen_producer"), from, ei.Tuple{atom("ask"), ei.Int(1)}})
		}
		members := ei.List{ei.Tuple{atom("g"), ei.List{who}}}
		all = append(all,
			ei.Tuple{atom("io_request"), who, theirs, ei.Tuple{atom("put_chars"), atom("unicode"), ei.Binary("x")}},
			ei.Tuple{atom("io_request"), who, theirs, ei.Tuple{atom("get_line"), atom("unicode"), ei.List{}}},
			ei.Tuple{who, ei.Tuple{atom("call"), atom("erlang"), atom("node"), ei.List{}, who}},
			ei.Tuple{who, ei.Tuple{atom("sbcast"), atom("server"), atom("x")}}, ei.Tuple{who, ei.Tuple{atom("send"), atom("server"), atom("x")}},
			ei.Tuple{atom("$gen_cast"), ei.Tuple{atom("cast"), atom("erlang"), atom("node"), ei.List{}, who}},
			ei.Tuple{atom("$gen_cast"), ei.Tuple{who, atom("app_ctrl"), atom("x"), atom("true"), ei.List{}}},
			ei.Tuple{atom("$gen_cast"), ei.Tuple{atom("sync"), who, members}}, ei.Tuple{atom("discover"), who},
			ei.Tuple{atom("discover"), who, ei.Int(1)}, ei.Tuple{atom("join"), who, atom("g"), who},
			ei.Tuple{atom("update"), who, ei.List{ei.Tuple{atom("g"), ei.List{who}, ei.List{}}}},
			ei.Tuple{atom("$gen_cast"), ei.Tuple{atom("new_nodes"), who.Node, ei.List{}, ei.List{}, ei.List{who.Node}, ei.List{}}},
			ei.Tuple{atom("$gen_cast"), ei.Tuple{atom("init_connect"), ei.Tuple{ei.Int(8), ei.Int(1)}, who.Node,
				ei.Tuple{atom("locker"), atom("no_longer_a_pid"), ei.Map{}, who}}},
			ei.Tuple{atom("$gen_cast"), ei.Tuple{atom("lock_set"), who, atom("true"), ei.List{who.Node}}},
			ei.Tuple{atom("begin"), theirs, who}, ei.Tuple{atom("EXIT"), who, atom("kill")},
		)
		ctx := expect.Context(t)
		for _, message := range all {
			require.NoError(t, box.SendName(ctx, "all@host", name, message))
			require.NoError(t, box.SendName(ctx, "all@host", "rex", ei.Tuple{box.Pid(), ei.Tuple{atom("sbcast"), atom(name), message}}))
			require.NoError(t, box.SendName(ctx, "all@host", "rex", ei.Tuple{box.Pid(), ei.Tuple{atom("send"), atom(name), message}}))
		}
	}
	v.settle(name)
	for _, b := range v.all[:2] {
		if d, _ := b.Node().Process(b.Pid()); len(d.Watchers) > 0 {
			v.seen["watch"] = true
		}
	}
}

// settle waits until a process has dealt with what it was sent.
func (v *victims) settle(name string) {
	t := v.s.t
	_, err := v.s.box.RPC(expect.Context(t), "all@host", "erlang", "node")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		b := v.s.all.Whereis(name)
		if b == nil || v.s.all.Stats().Calls > 0 {
			return b == nil
		}
		d, _ := v.s.all.Process(b.Pid())
		return d.Queue == 0 && !d.Running
	}, time.Minute, time.Millisecond)
	for {
		if _, err := v.s.box.Receive(transport.NoWait()); err != nil {
			return
		}
	}
}
