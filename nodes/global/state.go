package global

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// What a Global hands over to the process that goes on as this one, as structs of which ei makes
// maps: so fields may come and go. Workers tell each other the tables in the same form.

// stateVersion is the version of what the fields mean.
const stateVersion = 3

type (
	savedGlobal struct {
		_       struct{} `ei:"tuple=cnode_global"`
		Version int
		State   ei.Raw // a savedState
	}
	savedState struct {
		Tables  tables
		Server  state
		Locker  savedLocker
		Held    []heldLock
		Letters []letter
		Role    part
	}
	// tables are the names, locks and nodes.
	tables struct {
		Names []savedName
		Locks []savedLock
		Known map[string]int
	}
	savedName struct {
		Name name
		Host string
		Mine bool
		Ref  ei.Ref `ei:",omitempty"` // the monitor
	}
	savedLock struct {
		Resource, Asked ei.Term
		Holders         []savedHolder
	}
	savedHolder struct {
		Pid ei.Pid
		Ref ei.Ref `ei:",omitempty"`
	}
)

// rawOf is a value of these types as a term; there is none that cannot be one.
func rawOf(v any) ei.Raw {
	raw, _ := ei.Append(nil, v)
	return raw
}

func read[T any](t ei.Term) (v T, err error) {
	err = ei.UnmarshalTerm(t, &v)
	return v, err
}

// handoverTime is how long a freeze waits for what uses the tables, which is never long.
const handoverTime = time.Second

var errBusy = errors.New("global: a process is being made")

var errState = errors.New("global: the state of the process before cannot be read")

// handover is the state for the process that goes on as this one. The node stands still. Who makes
// a process meanwhile has g.mu, and waits for the end of the freeze: so this does not wait for
// that.
func (g *Global) handover() ([]byte, error) {
	for begun := time.Now(); !g.mu.TryLock(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > handoverTime {
			return nil, errBusy
		}
	}
	defer g.mu.Unlock()
	s := savedState{Tables: g.server.tables(), Server: g.server.state, Role: g.role.part}
	g.heldMu.Lock()
	s.Held = slices.Collect(maps.Values(g.held))
	g.heldMu.Unlock()
	g.locker.mu.Lock() // so that what the locker says is either among the letters, or yet to be said
	defer g.locker.mu.Unlock()
	s.Locker, s.Letters = g.locker.saved(), g.outbox.waiting()
	raw, err := ei.Append(nil, s)
	if err != nil {
		return nil, err
	}
	return ei.Marshal(savedGlobal{Version: stateVersion, State: raw})
}

// restore reads what handover has written; g.mu is held.
func (g *Global) restore(raw []byte) {
	var of savedGlobal
	s := savedState{Server: newServer(g.server.self, g.server.creation, g.server.out).state}
	err := ei.Unmarshal(raw, &of)
	switch {
	case err != nil:
	case of.Version != stateVersion:
		err = fmt.Errorf("version %v, want %v", of.Version, stateVersion)
	default:
		err = of.State.Unmarshal(&s)
	}
	if err != nil {
		g.log.Error("global: begins anew", "error", fmt.Errorf("%w: %w", errState, err))
		return
	}
	g.server.state = s.Server
	g.server.setTables(s.Tables, true)
	g.locker.him, g.locker.doing, g.locker.inbox = s.Locker.Him, s.Locker.Doing, s.Locker.Inbox
	for _, h := range s.Held {
		if key, _, ok := keyOf(h.ID); ok {
			g.held[key] = h
		}
	}
	for _, l := range s.Letters {
		g.outbox.add(l)
	}
	g.role.part = s.Role
}

// resumed goes on in the process that has taken over, once the node runs. What the process before
// was in the middle of is begun again.
func (g *Global) resumed() {
	g.outbox.mu.Lock()
	for node := range g.outbox.full {
		go g.outbox.drain(node)
	}
	g.outbox.mu.Unlock()
	g.heldMu.Lock()
	held := maps.Clone(g.held)
	g.heldMu.Unlock()
	go func() {
		for _, h := range held {
			g.delLocks(h.ID, h.Nodes)
		}
	}()
	for _, n := range g.server.names {
		if n.ref.Len == 0 {
			g.watchLater(n)
		}
	}
	for _, s := range g.server.Sessions {
		if s.Asking {
			s.Asking = false
			g.server.compare(s)
		}
	}
	for node := range g.server.known {
		if _, up := g.server.Up[node]; !up || g.server.Joining[node] {
			g.join(node)
		}
	}
	g.server.resume()
	if !g.role.owner {
		g.elect()
	}
}

func (c *server) tables() tables {
	t := tables{Known: maps.Clone(c.known)}
	for _, n := range c.names {
		t.Names = append(t.Names, n.saved())
	}
	for _, l := range c.locks {
		t.Locks = append(t.Locks, l.saved())
	}
	return t
}

// setTables replaces the tables. Monitors are those of the process that goes on as another one.
func (c *server) setTables(t tables, monitors bool) {
	c.clearTables()
	for _, n := range t.Names {
		c.putName(n, monitors)
	}
	for _, l := range t.Locks {
		c.putLock(l, monitors)
	}
	for node, version := range t.Known {
		if isNodeName(node) && c.mayJoin(node) { // the rules may be others than those of the process before
			c.known[node] = version
		}
	}
}

func (c *server) clearTables() {
	c.bytes = 0
	clear(c.names)
	clear(c.byRef)
	clear(c.byPid)
	clear(c.locks)
	clear(c.lockOf)
	clear(c.held)
	clear(c.known)
}

func (n *name) saved() savedName { return savedName{*n, n.host, n.mine, n.ref} }

func (c *server) putName(s savedName, monitors bool) {
	n := &s.Name
	n.host, n.mine = s.Host, s.Mine
	c.takeName(n.key)
	c.putInto(n)
	if monitors && s.Ref.Len > 0 {
		c.watched(n, s.Ref)
	}
	if c.byPid[n.pid] == nil {
		c.byPid[n.pid] = map[string]bool{}
	}
	c.byPid[n.pid][n.key] = true
}

func (l *lock) saved() savedLock {
	s := savedLock{Resource: l.resource, Asked: l.asked}
	for _, h := range l.holders {
		s.Holders = append(s.Holders, savedHolder{h.pid, h.ref})
	}
	return s
}

func (c *server) putLock(s savedLock, monitors bool) {
	resource, term, ok1 := keyOf(s.Resource)
	requester, asked, ok2 := keyOf(s.Asked)
	if !ok1 || !ok2 {
		return
	}
	l := newLock(resource, requester, term, asked)
	for _, h := range s.Holders {
		of := heldBy{resource: resource, pid: h.Pid}
		if monitors {
			of.ref = h.Ref
			c.lockOf[of.ref] = of
		}
		c.held[h.Pid.Node]++
		l.holders = append(l.holders, of)
	}
	c.putLockInto(resource, l)
}

// watchAgain monitors everything: the monitors that there were have gone with their process.
func (c *server) watchAgain() {
	clear(c.byRef)
	for _, n := range c.names {
		n.ref = ei.Ref{}
		if ref, ok := c.out.monitor(n.pid); ok {
			c.watched(n, ref)
		} else {
			c.out.watchLater(n)
		}
	}
	clear(c.lockOf)
	clear(c.held)
	for _, l := range c.locks {
		for _, h := range l.holders {
			c.held[h.pid.Node]++
		}
	}
	for _, l := range maps.Clone(c.locks) {
		for _, h := range slices.Clone(l.holders) {
			ref, ok := c.out.monitor(h.pid)
			if !ok {
				c.release(h.resource, h.pid, true)
				continue
			}
			h.ref = ref
			c.lockOf[ref] = h
			l.holders[slices.IndexFunc(l.holders, func(of heldBy) bool { return of.pid == h.pid })] = h
		}
	}
}

// cancelAll tells the other nodes that their sessions with this one are over.
func (c *server) cancelAll() {
	for node, s := range c.Sessions {
		if s.Begun {
			c.tell(node, ei.Tuple{ei.Atom("cancel_connect"), ei.Atom(c.self), s.HisTag})
		}
	}
}

// resume goes on with what has begun anew.
func (c *server) resume() {
	if c.Broken {
		c.anew()
		return
	}
	for node := range c.Asked {
		c.stays(node)
	}
	for node := range c.Removing {
		c.leave(node)
	}
	for node := range c.Returning {
		c.out.after(returnTime, func() { c.returned(node) })
	}
	c.meetAgain()
	for _, s := range c.Sessions {
		if s.InSync {
			c.expectKnown(s)
		}
	}
}

// AppendTerm makes a name its entry.
func (n name) AppendTerm(b []byte) ([]byte, error) { return ei.AppendTerm(b, n.entry()) }

// ReadTerm reads it.
func (n *name) ReadTerm(c *ei.Cursor) error {
	t, err := c.Term()
	of, ok := nameOf(t)
	if err == nil && !ok {
		err = errState
	}
	*n = of
	return err
}

// AppendTerm makes an op what other nodes get.
func (o op) AppendTerm(b []byte) ([]byte, error) { return ei.AppendTerm(b, o.encode()) }

// ReadTerm reads it.
func (o *op) ReadTerm(c *ei.Cursor) error {
	t, err := c.Term()
	of := opsOf(ei.List{t})
	if err == nil && len(of) == 0 {
		err = errState
	}
	if err == nil {
		*o = of[0]
	}
	return err
}

func textsOf(t ei.Term) (texts []string) {
	list, _ := ei.Elements(t)
	for _, e := range list {
		if a, ok := e.(ei.Atom); ok {
			texts = append(texts, string(a))
		}
	}
	return texts
}
