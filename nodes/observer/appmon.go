package observer

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/asker"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/introspect"
)

// What appmon_info does for Observer's page Applications: see the module of that name in OTP's
// application runtime_tools. There is one application, whose processes are the node's.

// appmonName is what the names of these processes begin with.
const appmonName = "appmon_info."

const (
	appmonEvery = 5 * time.Second // how often the tree is looked at anew
	appmonMost  = 1000            // processes are in a tree
	appmonTrees = 100             // may be wanted by a client
	appmonPages = 16              // of these processes for the clients of a node: it asks for one, and pays for none
)

// startAppmon is appmon_info:start_link2/3: it makes a process that is linked with the client. The
// process has its name when this returns, so that rules know it.
func (b *observer) startAppmon(ctx context.Context, _, client ei.Pid, _ ei.Term) (ei.Term, error) {
	if nodes.ConnOf(ctx) == nil || b.asker(ctx) != string(client.Node) {
		return nil, badarg
	}
	self := nodes.MailboxOf(ctx)
	pid, _, err := self.SpawnMonitor(ctx, b.n.Name(), "appmon_info", "serve", client)
	if err != nil {
		return nil, err
	}
	m, err := self.Receive(ctx)
	if err != nil {
		return nil, err
	}
	defer m.Release()
	if m.Payload == nil {
		return nil, systemLimit // it has ended
	}
	return pair("ok", pid), nil
}

// An order is what a client of appmon wants to be told, and was told last.
type order struct {
	to   ei.Pid
	what ei.Atom // app_ctrl, or app
	of   ei.Atom
}

// serveAppmon is a process of appmon's, as long as the client lives. It is linked with the client,
// which would end with it: so nobody can have it serve another node's.
func (b *observer) serveAppmon(ctx context.Context, client ei.Pid) error {
	if c := nodes.ConnOf(ctx); c != nil && c.Name() != string(client.Node) {
		return badarg
	}
	if !b.beginPage(client.Node) {
		return systemLimit
	}
	defer b.endPage(client.Node)
	nodes.EndAtStop(ctx)
	ctx = nodes.NoConnect(ctx)
	self := nodes.MailboxOf(ctx)
	self.TrapExit(true)
	if err := self.Link(ctx, client); err != nil {
		return err
	}
	if err := b.n.Register(ctx, fmt.Sprintf("%s%d.%d", appmonName, self.Pid().ID, self.Pid().Serial), self); err != nil {
		return err
	}
	if nodes.ConnOf(ctx) == nil { // see startAppmon
		if err := self.Send(ctx, nodes.CallerOf(ctx), ei.Atom("ready")); err != nil {
			return err
		}
	}
	orders := map[order]ei.Raw{} // and what was told last: orders that want the same share it
	for {
		waiting, cancel := context.WithTimeout(ctx, appmonEvery)
		m, err := self.Receive(waiting)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && waiting.Err() == nil:
			return err
		case err == nil && m.Payload == nil: // the client has ended
			if m.From == client {
				return nil
			}
			continue
		case err == nil:
			o, on, ok := readOrder(m.Payload)
			if !ok || o.to.Node != client.Node || asker.Of(b.n, m.Conn()) != string(client.Node) {
				continue
			}
			delete(orders, o)
			if on && len(orders) < appmonTrees {
				orders[o] = nil
			}
		}
		made := map[order]ei.Raw{} // without to
		for o, told := range orders {
			what := order{what: o.what, of: o.of}
			raw := made[what]
			if raw == nil {
				var err error
				if raw, err = b.deliver(what); err != nil {
					continue
				}
				made[what] = raw
			}
			same := bytes.Equal(raw, told)
			if orders[o] = raw; same {
				continue
			}
			if err := self.Send(ctx, o.to, ei.Tuple{ei.Atom("delivery"), self.Pid(), o.what, o.of, raw}); err != nil {
				return nil
			}
		}
	}
}

// deliver is what an order is told now.
func (b *observer) deliver(o order) (ei.Raw, error) {
	var v ei.Term = ei.List{ei.Tuple{b.master(ei.Atom(b.opts.Application)), ei.Atom(b.opts.Application), b.application()}}
	if o.what == "app" {
		v = b.tree(o.of)
	}
	return ei.AppendTerm(nil, v)
}

// beginPage and endPage count the processes of appmon's.
func (b *observer) beginPage(node ei.Atom) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pages[node] >= appmonPages {
		return false
	}
	b.pages[node]++
	return true
}

func (b *observer) endPage(node ei.Atom) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pages[node]--; b.pages[node] == 0 {
		delete(b.pages, node)
	}
}

// readOrder reads {'$gen_cast', {From, Command, Aux, OnOff, Opts}}.
func readOrder(payload ei.Raw) (o order, on, ok bool) {
	t, err := payload.Decode()
	cast, _ := t.(ei.Tuple)
	if err != nil || len(cast) != 2 || cast[0] != ei.Atom("$gen_cast") {
		return
	}
	v, _ := cast[1].(ei.Tuple)
	if len(v) != 5 {
		return
	}
	var isPid, isCommand, isAtom bool
	o.to, isPid = v[0].(ei.Pid)
	o.what, isCommand = v[1].(ei.Atom)
	o.of, isAtom = v[2].(ei.Atom)
	return o, v[3] == ei.Atom("true"), isPid && isCommand && isAtom && (o.what == "app_ctrl" || o.what == "app")
}

// A branch is a process in the tree of the application.
type branch struct {
	introspect.Process
	name string
	root bool // it stands below the application
}

// branches are the processes of the application, those that are part of it longest first.
func (b *observer) branches() []branch {
	var all []branch
	for p := range b.n.Processes() {
		if p.Kind != introspect.KindSystem && len(all) < appmonMost {
			all = append(all, branch{p, nameOf(&p), true})
		}
	}
	slices.SortFunc(all, func(x, y branch) int { return x.Pid.Compare(y.Pid) })
	known := map[ei.Pid]bool{}
	for i := range all {
		known[all[i].Pid] = true
	}
	for i := range all {
		all[i].root = !known[all[i].Parent] || all[i].Parent == all[i].Pid
	}
	return all
}

// nameOf is the name by which a process is shown.
func nameOf(p *introspect.Process) string {
	switch {
	case len(p.Names) > 0:
		return string(p.Names[0])
	case p.Label != nil:
		return text(p.Label)
	}
	f := runs(p)
	return string(f.Module + ":" + f.Function)
}

// tree is {Root, [{Pid, Name}], [{NameOfParent, NameOfChild}], []}, with names that are unique.
func (b *observer) tree(app ei.Atom) ei.Term {
	master := b.master(app)
	pid, ok := master.(ei.Pid)
	if !ok {
		return ei.Tuple{ei.List{}, ei.List{}, ei.List{}, ei.List{}}
	}
	root := otp.Charlist(string(app))
	pids, edges := ei.List{ei.Tuple{pid, root}}, ei.List{}
	names, taken := map[ei.Pid]ei.Term{}, map[string]bool{string(app): true}
	all := b.branches()
	for _, p := range all {
		if len(p.Names) == 0 || taken[p.name] {
			p.name = fmt.Sprintf("%s <%d.%d>", p.name, p.Pid.ID, p.Pid.Serial)
		}
		taken[p.name] = true
		names[p.Pid] = otp.Charlist(p.name)
		pids = append(pids, ei.Tuple{p.Pid, names[p.Pid]})
	}
	for _, p := range all {
		from := root
		if !p.root {
			from = names[p.Parent]
		}
		edges = append(edges, ei.Tuple{from, names[p.Pid]})
	}
	return ei.Tuple{root, pids, edges, ei.List{}}
}
