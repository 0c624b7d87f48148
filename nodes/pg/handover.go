package pg

import (
	"github.com/cnode-go/cnode/ei"
)

// What a scope hands over to that of the process which goes on as this node: all that it knows. Its
// monitors, and the messages that it has not taken, move with its process.
type (
	savedScope struct {
		Locals []savedLocal
		Peers  []savedPeer
	}
	savedLocal struct {
		_      struct{} `ei:"tuple"`
		Pid    ei.Pid
		Ref    *ei.Ref // nil: the next process monitors it
		Groups []ei.Raw
	}
	savedPeer struct {
		Pid          ei.Pid
		Ref          ei.Ref
		Version      int
		Told, Heard  bool
		Behind, Over bool // Over: some of its members were left out
		Nodes        []string
		Groups       []savedGroup
	}
	savedGroup struct {
		_       struct{} `ei:"tuple"`
		Group   ei.Raw
		Members []ei.Pid
	}
)

// handover gives the state, while nothing runs.
func (s *Scope) handover() ([]byte, error) {
	var saved savedScope
	for pid, l := range s.locals {
		groups := make([]ei.Raw, len(l.groups))
		for i, key := range l.groups {
			groups[i] = ei.Raw(key)
		}
		one := savedLocal{Pid: pid, Groups: groups}
		if l.ref.Len > 0 {
			one.Ref = &l.ref
		}
		saved.Locals = append(saved.Locals, one)
	}
	for pid, p := range s.peers {
		one := savedPeer{
			Pid: pid, Ref: p.ref, Version: p.version, Told: p.told, Heard: p.heard,
			Behind: p.behind, Over: s.limit.Lacks(pid), Nodes: p.nodes,
		}
		for key, m := range p.groups {
			one.Groups = append(one.Groups, savedGroup{Group: ei.Raw(key), Members: m.pids})
		}
		saved.Peers = append(saved.Peers, one)
	}
	return ei.Marshal(saved)
}

// inherit takes the state of the scope before; Running is held.
func (s *Scope) inherit(state []byte) error {
	var saved savedScope
	if err := ei.Unmarshal(state, &saved); err != nil {
		return err
	}
	s.process.Inherit()
	s.claims = map[membership]int{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range saved.Locals {
		one := &local{}
		if l.Ref != nil {
			one.ref, s.byRef[*l.Ref] = *l.Ref, l.Pid
		}
		for _, group := range l.Groups {
			one.groups = append(one.groups, string(group))
			s.join(s.self, string(group), []ei.Pid{l.Pid})
		}
		s.locals[l.Pid] = one
	}
	for _, p := range saved.Peers {
		one := &peer{
			owner: newOwner(), ref: p.Ref, version: min(p.Version, highest), told: p.Told, heard: p.Heard, behind: p.Behind,
			again: p.Over, nodes: p.Nodes, cancel: func() {},
		}
		if p.Over {
			s.limit.Inherit(p.Pid, string(p.Pid.Node))
		}
		for _, g := range p.Groups {
			s.join(one.owner, string(g.Group), g.Members)
		}
		s.peers[p.Pid], s.byRef[p.Ref] = one, p.Pid
	}
	return nil
}

// claim finds a membership that the scope before has handed over, and that nobody has found yet;
// Running is held.
func (s *Scope) claim(pid ei.Pid, key string) bool {
	l := s.locals[pid]
	if l == nil {
		return false
	}
	m, count := membership{pid, key}, 0
	for _, of := range l.groups {
		if of == key {
			count++
		}
	}
	if s.claims[m] >= count {
		return false
	}
	s.claims[m]++
	return true
}
