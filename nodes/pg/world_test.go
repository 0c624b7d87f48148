package pg

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

const limit = time.Minute

func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// A world is nodes of this process that find each other.
type world struct {
	*cluster.Cluster
	t *testing.T
}

func newWorld(t *testing.T) *world { return &world{cluster.New(t), t} }

// node starts name@h.
func (w *world) node(name string, edit ...func(cfg *nodes.Config)) *nodes.Node {
	w.t.Helper()
	cfg := w.Config(name + "@h")
	for _, edit := range edit {
		edit(&cfg)
	}
	return w.Start(cfg)
}

// scope is a node with scope pg.
func (w *world) scope(name string, o *Options, edit ...func(cfg *nodes.Config)) (*nodes.Node, *Scope) {
	w.t.Helper()
	n := w.node(name, edit...)
	s, err := Start(w.t.Context(), n, "", o)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { s.Close() })
	return n, s
}

func (w *world) box(n *nodes.Node) *nodes.Mailbox {
	w.t.Helper()
	b := cluster.Mailbox(w.t, n, nil)
	return b
}

func (w *world) connect(a, b *nodes.Node) {
	w.t.Helper()
	_, err := a.Connect(soon(w.t), b.Name())
	require.NoError(w.t, err)
}

func sees(t *testing.T, s *Scope, group any, want ...ei.Pid) {
	t.Helper()
	var got []ei.Pid
	require.Eventually(t, func() bool {
		got = inOrder(slices.Collect(s.Members(group)))
		return slices.Equal(got, inOrder(want))
	}, limit, 100*time.Microsecond, "want %v", want)
}

// An oldScope is the scope process of a node of OTP 25, played: it ends as that does over what it
// does not know, over a leave of a group that it has not heard of among them.
type oldScope struct {
	n    *nodes.Node
	box  *nodes.Mailbox
	pace func()

	mu     sync.Mutex
	remote map[ei.Pid]map[string][]ei.Pid
	local  map[string][]ei.Pid
	dead   error
}

func (w *world) oldScope(name string, edit ...func(cfg *nodes.Config)) *oldScope {
	w.t.Helper()
	o := &oldScope{n: w.node(name, edit...), remote: map[ei.Pid]map[string][]ei.Pid{}, local: map[string][]ei.Pid{}, pace: func() {}}
	var err error
	o.box, err = o.n.Handle("pg", o.take, nil)
	require.NoError(w.t, err)
	up, err := o.box.MonitorNodes(context.Background(), nodes.AllNodes)
	require.NoError(w.t, err)
	require.Empty(w.t, up)
	return o
}

func (o *oldScope) take(self *nodes.Mailbox, m *nodes.Message) {
	o.pace()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dead != nil {
		return
	}
	if m.Op == dist.OpMonitorPExit {
		delete(o.remote, m.From)
		return
	}
	t, err := m.Term()
	if err == nil {
		err = o.handle(self, t)
	}
	o.dead = err
}

func (o *oldScope) handle(self *nodes.Mailbox, t ei.Term) error {
	bad := fmt.Errorf("badarg: %v", t)
	tuple, ok := t.(ei.Tuple)
	if !ok || len(tuple) == 0 {
		return bad
	}
	if tuple[0] == ei.Atom("$gen_cast") {
		sync, ok := tuple[1].(ei.Tuple)
		if !ok || len(sync) != 3 || sync[0] != ei.Atom("sync") {
			return bad
		}
		groups := map[string][]ei.Pid{}
		for _, pair := range sync[2].(ei.List) {
			pids, err := pidsOf(pair.(ei.Tuple)[1])
			if err != nil || len(pids) == 0 {
				return bad
			}
			groups[pair.(ei.Tuple)[0].(fmt.Stringer).String()] = pids
		}
		peer := sync[1].(ei.Pid)
		if o.remote[peer] != nil || o.monitors(peer) {
			o.remote[peer] = groups
		}
		return nil
	}
	switch what := tuple[0].(ei.Atom); {
	case what == "nodeup":
		_ = self.SendName(patient, string(tuple[1].(ei.Atom)), "pg", ei.Tuple{ei.Atom("discover"), self.Pid()})
	case what == "nodedown":
	case what == "discover" && len(tuple) == 2:
		peer := tuple[1].(ei.Pid)
		var all ei.List
		for g, pids := range o.local {
			all = append(all, ei.Tuple{ei.Atom(g), listOf(pids)})
		}
		_ = self.Send(patient, peer, cast(ei.Tuple{ei.Atom("sync"), self.Pid(), all}))
		if o.remote[peer] == nil && o.monitors(peer) {
			o.remote[peer] = map[string][]ei.Pid{}
			_ = self.Send(patient, peer, ei.Tuple{ei.Atom("discover"), self.Pid()})
		}
	case what == "join" && len(tuple) == 4:
		pids, err := pidsOf(tuple[3])
		if err != nil || len(pids) == 0 {
			return bad
		}
		if known := o.remote[tuple[1].(ei.Pid)]; known != nil {
			g := tuple[2].(fmt.Stringer).String()
			known[g] = append(known[g], pids...)
		}
	case what == "leave" && len(tuple) == 4:
		pids, err := pidsOf(tuple[2])
		if err != nil || len(pids) == 0 {
			return bad
		}
		known := o.remote[tuple[1].(ei.Pid)]
		if known == nil {
			return nil
		}
		for _, g := range tuple[3].(ei.List) {
			key := g.(fmt.Stringer).String()
			if known[key] == nil {
				return fmt.Errorf("badkey: %v in %v", key, t)
			}
			for _, pid := range pids {
				if i := slices.Index(known[key], pid); i >= 0 {
					known[key] = slices.Delete(known[key], i, i+1)
				}
			}
			if len(known[key]) == 0 {
				delete(known, key)
			}
		}
	default:
		return bad
	}
	return nil
}

// patient is for what waits for room, as a BEAM does, but not for a connection.
var patient = nodes.NoConnect(context.Background())

// monitors tells whether a peer is still there to be monitored: else its DOWN would come at once.
func (o *oldScope) monitors(peer ei.Pid) bool {
	_, err := o.box.Monitor(patient, peer)
	return err == nil
}

func pidsOf(t ei.Term) (pids []ei.Pid, err error) {
	if pid, ok := t.(ei.Pid); ok {
		return []ei.Pid{pid}, nil
	}
	list, ok := t.(ei.List)
	for _, one := range list {
		pid, is := one.(ei.Pid)
		ok = ok && is
		pids = append(pids, pid)
	}
	if !ok {
		err = fmt.Errorf("no pids: %v", t)
	}
	return pids, err
}

// members are those of all other scopes in a group.
func (o *oldScope) members(group ei.Term) (all []ei.Pid) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, groups := range o.remote {
		all = append(all, groups[group.(fmt.Stringer).String()]...)
	}
	return inOrder(all)
}

func (o *oldScope) sees(t *testing.T, group ei.Term, want ...ei.Pid) {
	t.Helper()
	if !assert.Eventually(t, func() bool { return slices.Equal(o.members(group), inOrder(want)) }, limit, 100*time.Microsecond,
		"want %v", want) {
		o.mu.Lock()
		defer o.mu.Unlock()
		t.Fatalf("in %v; its end: %v; it has heard of %v", group, o.dead, o.remote)
	}
}

// forgets waits until the scope has heard that a node is gone.
func (o *oldScope) forgets(t *testing.T, node string) {
	t.Helper()
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		for peer := range o.remote {
			if string(peer.Node) == node {
				return false
			}
		}
		return o.n.Conn(node) == nil
	}, limit, 100*time.Microsecond)
}

func (o *oldScope) lives(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	require.NoError(t, o.dead, "the scope of OTP 25 ends")
}
