package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/asker"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/kept"
	"github.com/cnode-go/cnode/transport"
)

// A peer is a scope process of another node, or of another worker of this one.
type peer struct {
	*owner
	ref     ei.Ref // of its monitor
	version int    // the protocol that it has announced
	// It has been told of all members here. Before that, it gets no joins and leaves: a leave of a
	// group of which it has not heard ends a scope of OTP 25 to 28.
	told bool
	// It has told of its members. Until then it is asked again.
	heard bool
	// It does not read: catchUp waits until it does, and tells it everything again. dirty says that
	// something has changed since catchUp has last looked.
	behind, dirty bool
	// There may be room for what was left out of what it has told: look asks it to tell all anew.
	again  bool
	cancel func()
	nodes  []string // of another worker: the nodes that this is connected to
}

// maxScopes is how many scope processes one node may have: a node with workers has several.
const maxScopes = 1024

// now is for what must not wait for another node, nor connect to it.
var now = nodes.NoConnect(transport.NoWait())

// take handles a message of the scope's process.
func (s *Scope) take(box *nodes.Mailbox, m *nodes.Message) {
	switch m.Op {
	case dist.OpMonitorPExit:
		s.down(box, m.Ref)
		return
	case dist.OpSend, dist.OpRegSend:
	default:
		return
	}
	if kept.RefuseCall(box, m) { // nobody calls a scope of another node
		return
	}
	got, err := s.parser.parse(m.Payload)
	if err == nil {
		err = s.handle(box, m.Conn(), &got)
	}
	if err != nil {
		s.complain(m.Conn(), err)
	}
}

// complain logs what is wrong with a message: of each node the first time as a warning.
func (s *Scope) complain(c *nodes.Conn, err error) {
	from := asker.Of(s.n, c)
	if s.warned[from] {
		s.log.Debug("message dropped", "from", from, "error", err)
		return
	}
	if len(s.warned) > maxScopes {
		clear(s.warned)
	}
	s.warned[from] = true
	s.log.Warn("message dropped; further ones of this node are logged as debug", "from", from, "error", err)
}

var errNotSelf = errors.New("it speaks for a scope of another node")

// handle does what a message asks for. c is the connection over which it has come; nil: it is from
// this node.
func (s *Scope) handle(box *nodes.Mailbox, c *nodes.Conn, m *message) error {
	switch {
	case c == nil && (m.kind == nodeUp || m.kind == nodeDown):
		s.noteNode(box, m.nodes[0], m.kind == nodeUp)
		return nil
	case m.kind >= hello && (c != nil || m.from.Node == ""):
		return errUnknown
	case string(m.from.Node) != asker.Of(s.n, c):
		return fmt.Errorf("%w: %v", errNotSelf, m.from)
	case m.from == box.Pid():
		return nil
	}
	p := s.peers[m.from]
	switch m.kind {
	case hello:
		if p == nil {
			_ = s.send(box, m.from, discoverMessage(box.Pid(), 0))
		}
	case itsNodes:
		if p != nil {
			p.nodes = m.nodes
			for _, node := range m.nodes {
				if !s.hasPeer(node) {
					s.ask(box, node)
				}
			}
			s.seek()
		}
	case discover:
		if p == nil {
			if p = s.meet(box, m.from, m.version); p != nil {
				_ = s.send(box, m.from, discoverMessage(box.Pid(), m.version))
				s.seek() // if there was no room for that
			}
			return nil
		}
		p.version = m.version
		s.tellWhole(box, m.from, p)
	case whole:
		if p == nil {
			if p = s.meet(box, m.from, m.version); p == nil {
				return nil
			}
		}
		p.version, p.heard = max(p.version, m.version), true
		if !p.told {
			s.tellWhole(box, m.from, p)
		}
		s.setMembers(m, p)
	case update: // of a scope that is not known, it is dropped: what comes first is discover, or the whole
		if p != nil {
			s.updateMembers(m, p)
		}
	}
	return nil
}

// meet makes a scope process known, and tells it of all members here; nil: it cannot be known now.
func (s *Scope) meet(box *nodes.Mailbox, pid ei.Pid, version int) *peer {
	node := string(pid.Node)
	if s.countOf(node) >= maxScopes {
		s.complain(s.n.Conn(node), fmt.Errorf("the node has more than %d scope processes", maxScopes))
		return nil
	}
	ref, err := box.Monitor(now, pid)
	if err != nil { // there is no room on the connection, or it has just ended
		s.missed[node] = true
		s.seek()
		return nil
	}
	delete(s.missed, node)
	p := &peer{owner: newOwner(), ref: ref, version: version, cancel: func() {}}
	s.peers[pid], s.byRef[ref] = p, pid
	s.log.Debug("scope found", "of", pid, "protocol", version)
	s.tellWhole(box, pid, p)
	if node == s.n.Name() {
		_ = s.send(box, pid, s.nodesMessage(box))
	}
	return p
}

func (s *Scope) hasPeer(node string) bool { return s.countOf(node) > 0 }

// countOf counts the known scope processes of a node.
func (s *Scope) countOf(node string) (n int) {
	for pid := range s.peers {
		if string(pid.Node) == node {
			n++
		}
	}
	return n
}

// send sends a message that is not needed if there is no connection, or no room on it.
func (s *Scope) send(box *nodes.Mailbox, to ei.Pid, t ei.Term) error { return box.Send(now, to, t) }

// tellWhole tells a peer of all members here, now or as soon as it reads.
func (s *Scope) tellWhole(box *nodes.Mailbox, pid ei.Pid, p *peer) {
	if p.behind {
		p.dirty = true
		return
	}
	err := s.send(box, pid, wholeMessage(box.Pid(), p.version, s.told()))
	p.told = err == nil
	s.mayBeBehind(pid, p, err)
}

// tell tells all peers of a change; message makes it for a version of the protocol.
func (s *Scope) tell(box *nodes.Mailbox, message func(version int) ei.Term) {
	if s.drains {
		return
	}
	var encoded [highest + 1]ei.Raw
	for pid, p := range s.peers {
		switch {
		case p.behind:
			p.dirty = true
			continue
		case !p.told:
			continue
		}
		if encoded[p.version] == nil {
			raw, err := ei.AppendTerm(nil, message(p.version))
			if err != nil {
				s.log.Error("a change cannot be told", "error", err)
				return
			}
			encoded[p.version] = raw
		}
		s.mayBeBehind(pid, p, s.send(box, pid, encoded[p.version]))
	}
}

// mayBeBehind looks at the error of a message to a peer: with no room for it, the peer is behind.
// Over other errors the connection has ended, as a DOWN says.
func (s *Scope) mayBeBehind(pid ei.Pid, p *peer, err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.behind = true
		s.log.Debug("scope does not read", "of", pid)
		s.beginCatchUp(pid, p)
	}
}

func (s *Scope) beginCatchUp(pid ei.Pid, p *peer) {
	ctx, cancel := context.WithCancel(nodes.NoConnect(s.process.Context()))
	p.cancel = cancel
	s.process.Go(func() {
		defer cancel()
		s.catchUp(ctx, pid)
	})
}

// catchUp tells a peer that does not read of all members here, as soon as it does, until nothing
// has changed meanwhile. Nothing else is sent to it before.
func (s *Scope) catchUp(ctx context.Context, pid ei.Pid) {
	for more := true; more; {
		var box *nodes.Mailbox
		var all ei.Raw
		err := s.process.Do(ctx, func() {
			if p := s.peers[pid]; p != nil {
				box, p.dirty = s.process.Mailbox(), false
				all, _ = ei.AppendTerm(nil, wholeMessage(box.Pid(), p.version, s.told()))
			}
		})
		if err != nil || box == nil || box.Send(ctx, pid, all) != nil {
			return
		}
		err = s.process.Do(ctx, func() {
			if p := s.peers[pid]; p != nil && p.behind {
				more, p.behind, p.told = p.dirty, p.dirty, true
			}
		})
		if err != nil {
			return
		}
	}
}

// setMembers makes a peer's members those that it has told of, as far as there is room for them.
func (s *Scope) setMembers(m *message, p *peer) {
	room := s.room(string(m.from.Node)) + p.bytes
	all, bytes := make(map[string][]ei.Pid, len(m.changes)), 0
	for i := range m.changes {
		bytes += m.changes[i].cost()
	}
	if bytes > room {
		m.fit(room)
	}
	for _, c := range m.changes {
		all[c.key] = c.joined
	}
	s.mu.Lock()
	s.set(p.owner, all)
	s.mu.Unlock()
	p.again = false
	s.limit.Whole(m.from)
	if m.leftOut.count > 0 {
		s.leaveOut(m.from, m.leftOut)
	}
	s.mayFit(string(m.from.Node))
}

// updateMembers does the same with a change: of what joins, the first for which there is room.
func (s *Scope) updateMembers(m *message, p *peer) {
	room, left := 0, rest{}
	if slices.ContainsFunc(m.changes, func(c change) bool { return len(c.joined) > 0 }) {
		room = s.room(string(m.from.Node))
	}
	var due map[ei.Pid]int // a leave has the same processes for all groups: they are counted once
	s.mu.Lock()
	for _, c := range m.changes {
		before := p.bytes
		if joined := c.joined[:s.fitting(p, &c, room)]; len(joined) < len(c.joined) {
			left.add(len(c.joined)-len(joined), memberCost*(len(c.joined)-len(joined)))
			c.joined = joined
		}
		s.join(p.owner, c.key, c.joined)
		times, gone := max(c.times, 1), []ei.Pid(nil)
		switch {
		case c.times == 0:
			gone = s.leave(p.owner, c.key, c.left)
		default:
			if due == nil {
				due = counted(c.left)
			}
			gone = s.leaveEach(p.owner, c.key, due, c.times)
		}
		if unknown := times*len(c.left) - len(gone); unknown > 0 {
			// of those that were left out, and perhaps the last ones of their group
			s.limit.Gone(m.from, groupCost+len(c.key)+memberCost*unknown)
		}
		room += before - p.bytes
	}
	s.mu.Unlock()
	if left.count > 0 || m.over {
		s.leaveOut(m.from, left)
	}
	if m.over { // it may be that all have left: only the whole tells
		s.limit.Left(m.from, 0)
	}
	s.mayFit(string(m.from.Node))
}

// fitting is how many of those who join a group there is room for; s.mu is held.
func (s *Scope) fitting(p *peer, c *change, room int) int {
	if p.groups[c.key] == nil {
		room -= groupCost + len(c.key)
	}
	return max(min(room/memberCost, len(c.joined)), 0)
}

// room is how many bytes the members of a node may take beside those that it has.
func (s *Scope) room(node string) int {
	room := s.limit.Bytes
	for pid, p := range s.peers {
		if string(pid.Node) == node {
			room -= p.bytes
		}
	}
	return room
}

func (s *Scope) leaveOut(pid ei.Pid, left rest) {
	s.limit.LeaveOut(pid, string(pid.Node), left.count, left.bytes)
}

// mayFit looks whether there is room for what was left out of a node's members. Then look asks for
// them.
func (s *Scope) mayFit(node string) {
	if !s.limit.Any() {
		return
	}
	room := s.room(node)
	for pid, p := range s.peers {
		if string(pid.Node) == node && !p.again && s.limit.Fits(pid, room) {
			p.again = true
			s.seek()
		}
	}
}

// down deals with the end of what was monitored: a member of this node, or a peer.
func (s *Scope) down(box *nodes.Mailbox, ref ei.Ref) {
	pid, ok := s.byRef[ref]
	if !ok {
		return
	}
	delete(s.byRef, ref)
	if l := s.locals[pid]; l != nil && l.ref == ref {
		s.mu.Lock()
		for _, key := range l.groups {
			s.leave(s.self, key, []ei.Pid{pid})
		}
		s.mu.Unlock()
		delete(s.locals, pid)
		s.tell(box, func(version int) ei.Term { return leaveMessage(box.Pid(), version, []ei.Pid{pid}, l.groups) })
		return
	}
	p := s.peers[pid]
	if p == nil || p.ref != ref {
		return
	}
	p.cancel()
	delete(s.peers, pid)
	s.mu.Lock()
	s.drop(p.owner)
	s.mu.Unlock()
	s.limit.Forget(pid)
	s.mayFit(string(pid.Node))
	s.log.Debug("scope gone", "of", pid)
	// A new one may come in its place, or this one be back: when a connection is replaced, its end
	// may be heard of after the beginning of the next one.
	s.missed[string(pid.Node)] = true
	s.seek()
}

// noteNode deals with a node that has come up, or gone down.
func (s *Scope) noteNode(box *nodes.Mailbox, node string, up bool) {
	if up {
		s.noteUp(node)
		for pid, p := range s.peers {
			if string(pid.Node) == node { // it has forgotten what it was told over another connection
				p.told, p.dirty = false, true
			}
		}
		if s.direct[node] {
			s.ask(box, node)
			s.seek()
		}
	} else if s.n.Conn(node) == nil {
		delete(s.direct, node)
		delete(s.missed, node)
	}
	s.tellWorkers(box)
}

// noteUp notes a connection to a node, if it may be asked for its scope.
func (s *Scope) noteUp(node string) {
	if c := s.n.Conn(node); c != nil && mayAsk(c) {
		s.direct[node] = true
	} else {
		delete(s.direct, node)
	}
}

// mayAsk tells whether the node at the other end may be sent what it has not asked for. Programs of
// the C library, OTP's erl_call among them, take a message that is no answer for an error. They do
// not announce that they can spawn, as BEAMs have done since OTP 23, whatever this node announces.
func mayAsk(c *nodes.Conn) bool { return c.Peer().Announced.Has(dist.FlagSpawn) }

// ask asks for the scope of a node that is connected to this process, or to another worker.
func (s *Scope) ask(box *nodes.Mailbox, node string) {
	discover := discoverMessage(box.Pid(), 0)
	if c := s.n.Conn(node); s.direct[node] || c != nil {
		if c != nil && !mayAsk(c) {
			return
		}
		if err := box.SendName(now, node, s.name, discover); errors.Is(err, os.ErrDeadlineExceeded) {
			s.missed[node] = true
		}
		return
	}
	if s.asked[node] {
		return
	}
	s.asked[node] = true
	s.process.Go(func() { // another worker has to give this one a way there
		ctx, cancel := context.WithTimeout(s.process.Context(), askTime)
		defer cancel()
		_ = box.SendName(ctx, node, s.name, discover)
		s.process.Post(func() { delete(s.asked, node) })
	})
}

const (
	// askTime is how long the way to a node that another worker is connected to may take.
	askTime = 5 * time.Second
	// firstPause and lastPause are the times between two searches for scopes.
	firstPause, lastPause = 100 * time.Millisecond, 5 * time.Second
)

// seek begins to look, from time to time, for what is not known though it may be there. A scope
// that starts on an Erlang node tells the nodes that this lists in nodes(): not those that are
// hidden, and not other workers. And a connection may have had no room for a question.
func (s *Scope) seek() {
	s.pause = firstPause
	if s.timer == nil {
		s.timer = time.AfterFunc(s.pause, func() { s.process.Post(s.look) })
		return
	}
	s.timer.Reset(s.pause)
}

// look looks for scopes, and does so again later if there is something to look for.
func (s *Scope) look() {
	box, any := s.process.Mailbox(), false
	for node := range s.direct {
		if !s.hasPeer(node) && s.n.Conn(node) == nil { // a scope that is known is monitored: its end is told
			delete(s.direct, node)
		}
	}
	for node := range s.reachable() {
		if !s.hasPeer(node) && (s.missed[node] || !s.announces(node)) {
			delete(s.missed, node)
			s.ask(box, node)
			any = true
		}
	}
	for pid, p := range s.peers {
		if p.again {
			if any = true; s.limit.Due(pid, time.Now()) {
				_ = s.send(box, pid, discoverMessage(box.Pid(), p.version))
			}
		}
		if !p.heard {
			_ = s.send(box, pid, discoverMessage(box.Pid(), p.version))
			any = true
		}
	}
	if inside.IsWorker() {
		_ = box.SendWorkers(now, s.name, ei.Tuple{ei.Atom("$cnode_pg"), ei.Atom("hello"), box.Pid()})
		any = true
	}
	if any && s.Err() == nil {
		s.pause = min(2*s.pause, lastPause)
		s.timer.Reset(s.pause)
	}
}

// announces tells whether a scope that starts on a node tells this process by itself: nobody has to
// look for it.
func (s *Scope) announces(node string) bool {
	c := s.n.Conn(node)
	if c == nil || !s.direct[node] {
		return false
	}
	p := c.Peer()
	return p.Flags.Has(dist.FlagPublished) || !p.Announced.Has(dist.FlagPublished)
}

// reachable are the nodes that this process, or another worker, is connected to.
func (s *Scope) reachable() map[string]bool {
	all := map[string]bool{}
	for node := range s.direct {
		all[node] = true
	}
	for _, p := range s.peers {
		for _, node := range p.nodes {
			all[node] = true
		}
	}
	delete(all, s.n.Name())
	return all
}

// tellWorkers tells the scopes of other workers which nodes this one is connected to.
func (s *Scope) tellWorkers(box *nodes.Mailbox) {
	for pid := range s.peers {
		if string(pid.Node) == s.n.Name() {
			_ = s.send(box, pid, s.nodesMessage(box))
		}
	}
}

func (s *Scope) nodesMessage(box *nodes.Mailbox) ei.Term {
	list := ei.List{}
	for node := range s.direct {
		list = append(list, ei.Atom(node))
	}
	return ei.Tuple{ei.Atom("$cnode_pg"), ei.Atom("nodes"), box.Pid(), list}
}
