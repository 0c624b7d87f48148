package pg

import (
	"context"
	"iter"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/kept"
)

// A Change says who has joined a group, and who has left it, each as often as it has.
type Change struct {
	Group  ei.Term
	Joined []ei.Pid
	Left   []ei.Pid
}

// Monitor yields first the members that a group has, as Joined, perhaps none; then it waits for
// changes, and yields these. What joins and leaves again before the loop looks, or the reverse, it
// does not show: so a slow loop takes no more memory than the members do. It ends when the loop
// does, or ctx, or the scope, by Close or with the node. An error comes once, and last: that of
// ei.Append for the group, or what has ended the scope otherwise. It is pg:monitor/2 with
// pg:demonitor/2.
//
//	for change, err := range scope.Monitor(ctx, ei.Binary("room:1")) { // Elixir's "room:1"
func (s *Scope) Monitor(ctx context.Context, group any) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		key, err := keyOfValue(group)
		if err != nil {
			yield(Change{}, &nodes.Error{Op: "monitor a group of pg scope " + s.name, Err: err})
			return
		}
		w := newWatch()
		s.mu.Lock()
		g := s.group(key)
		g.watches[w] = struct{}{}
		first := Change{Group: groupOf(key)}
		for _, pids := range s.members(key, s.self, false) {
			first.Joined = append(first.Joined, pids...)
		}
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(g.watches, w)
			s.tidy(key, g)
		}()
		if yield(first, nil) {
			s.follow(ctx, w, yield)
		}
	}
}

// MonitorScope is Monitor for all groups: first it yields each group that has members, then changes
// of any. It is pg:monitor_scope/1.
func (s *Scope) MonitorScope(ctx context.Context) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		w := newWatch()
		s.mu.Lock()
		for key, g := range s.groups {
			for _, m := range g.members {
				w.note(key, m.pids, 1)
			}
		}
		s.watches[w] = struct{}{}
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.watches, w)
		}()
		s.follow(ctx, w, yield)
	}
}

// follow yields what a watch gathers.
func (s *Scope) follow(ctx context.Context, w *watch, yield func(Change, error) bool) {
	for {
		s.mu.Lock()
		all := w.take()
		s.mu.Unlock()
		for _, n := range all {
			if !yield(Change{groupOf(n.key), n.joined, n.left}, nil) {
				return
			}
		}
		select {
		case <-w.ring:
		case <-ctx.Done():
			return
		case <-s.process.Done():
			if err := s.Err(); kept.HasFailed(err) {
				yield(Change{}, &nodes.Error{Op: "monitor pg scope " + s.name, Err: err})
			}
			return
		}
	}
}
