package pg

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// keyOfValue is the key of a group that the program names.
func keyOfValue(group any) (string, error) {
	raw, err := ei.Append(nil, otp.Name(group))
	if err != nil {
		return "", err
	}
	return keyOf(raw)
}

// Join makes processes of this node members of a group, each once more: a process that has joined
// twice is listed twice, and has to leave twice. group is any term, or a Go value as for ei.Append,
// but a string, or a value of a type that is one, is the atom of that text, as names are elsewhere:
// "workers" is workers, Elixir's :workers. <<"workers">>, Elixir's "workers", is
// ei.Binary("workers"), or []byte("workers"); so is text inside a term. A member that ends leaves
// all its groups. Join waits for the scope's process, until ctx ends; then nothing has
// happened. It does not wait for other nodes, which hear of it a moment later. The error is that of
// Err if the scope has ended, of Mailbox.Err if a process has, and of ei.Append for the group. It
// is pg:join/3.
//
// When the node drains (nodes.Node.Drain), the processes leave the groups as other nodes see them,
// and of those that join from then on others do not hear; in this program all stay members.
//
// In Config.Setup of a process that takes over from another one (nodes.Restore), the members are
// those that there were. So that Setup may be the same in both, a Join there makes members only of
// processes that were none; it does not wait, and other nodes hear of it once the node goes on.
func (s *Scope) Join(ctx context.Context, group any, members ...*nodes.Mailbox) error {
	return s.change(ctx, "join", group, members, func(key string, pids []ei.Pid) error {
		join := func(box *nodes.Mailbox) error { return s.joinNow(box, key, pids, members) }
		if s.process.Early(func() {
			pids = slices.DeleteFunc(pids, func(pid ei.Pid) bool { return s.claim(pid, key) })
			if len(pids) > 0 {
				s.process.Post(func() { _ = s.joinNow(s.process.Mailbox(), key, pids, nil) })
			}
		}) {
			return nil
		}
		return s.inProcess(ctx, join)
	})
}

func (s *Scope) joinNow(box *nodes.Mailbox, key string, pids []ei.Pid, members []*nodes.Mailbox) error {
	for _, m := range members {
		if err := m.Err(); err != nil {
			return err
		}
	}
	s.process.AtDrain(s.drain)
	for _, pid := range pids {
		l := s.locals[pid]
		if l == nil {
			l = &local{}
			s.locals[pid] = l
			s.monitorLocal(box, pid, l)
		}
		l.groups = append(l.groups, key)
	}
	s.mu.Lock()
	s.join(s.self, key, pids)
	s.mu.Unlock()
	s.tell(box, func(version int) ei.Term { return joinMessage(box.Pid(), version, key, pids) })
	return nil
}

// Leave ends a membership of each of the processes. If none of them is a member the error is
// ErrNotJoined; those that are not are passed over. It waits as Join does. It is pg:leave/3.
func (s *Scope) Leave(ctx context.Context, group any, members ...*nodes.Mailbox) error {
	return s.change(ctx, "leave", group, members, func(key string, pids []ei.Pid) error {
		return s.inProcess(ctx, func(box *nodes.Mailbox) error { return s.leaveNow(box, key, pids) })
	})
}

func (s *Scope) leaveNow(box *nodes.Mailbox, key string, pids []ei.Pid) error {
	s.mu.Lock()
	left := s.leave(s.self, key, pids)
	s.mu.Unlock()
	if len(left) == 0 {
		return ErrNotJoined
	}
	for _, pid := range left {
		l := s.locals[pid]
		i := slices.Index(l.groups, key)
		if l.groups = slices.Delete(l.groups, i, i+1); len(l.groups) == 0 {
			box.Demonitor(context.Background(), l.ref)
			delete(s.byRef, l.ref)
			delete(s.locals, pid)
		}
	}
	s.tell(box, func(version int) ei.Term { return leaveMessage(box.Pid(), version, left, []string{key}) })
	return nil
}

// inProcess is Do for what may fail.
func (s *Scope) inProcess(ctx context.Context, f func(box *nodes.Mailbox) error) (err error) {
	failed := s.process.Do(ctx, func() { err = f(s.process.Mailbox()) })
	return errors.Join(failed, err)
}

// change changes, by f, the membership of processes in a group.
func (s *Scope) change(ctx context.Context, op string, group any, members []*nodes.Mailbox,
	f func(key string, pids []ei.Pid) error,
) error {
	fail := func(err error) error {
		return &nodes.Error{Op: fmt.Sprintf("%s a group of pg scope %s", op, s.name), Err: err}
	}
	key, err := keyOfValue(group)
	if err != nil {
		return fail(err)
	}
	own := s.process.Mailbox().Pid()
	pids := make([]ei.Pid, len(members))
	for i, m := range members {
		if m == nil {
			return fail(errors.New("a mailbox is nil"))
		}
		if pids[i] = m.Pid(); pids[i].Node != own.Node || pids[i].Creation != own.Creation {
			return fail(fmt.Errorf("%v is not of this node", pids[i]))
		}
	}
	if len(pids) == 0 {
		return nil
	}
	if err := f(key, pids); err != nil {
		return fail(err)
	}
	return nil
}

// monitorLocal monitors a member, whose end ends its membership.
func (s *Scope) monitorLocal(box *nodes.Mailbox, pid ei.Pid, l *local) {
	ref, err := box.Monitor(s.process.Context(), pid)
	if err != nil { // this process has ended: the next one monitors the member
		return
	}
	l.ref = ref
	s.byRef[ref] = pid
}

// Members yields the processes that are members of a group when the loop begins, on all nodes,
// those of this node first, and each as often as it has joined. group is as for Join; what is no
// term has none. It does not wait. It is pg:get_members/2.
func (s *Scope) Members(group any) iter.Seq[ei.Pid] { return s.membersOf(group, false) }

// LocalMembers is Members for the processes of this node; with workers, of this worker. It is
// pg:get_local_members/2.
func (s *Scope) LocalMembers(group any) iter.Seq[ei.Pid] { return s.membersOf(group, true) }

func (s *Scope) membersOf(group any, local bool) iter.Seq[ei.Pid] {
	return func(yield func(ei.Pid) bool) {
		key, err := keyOfValue(group)
		if err != nil {
			return
		}
		s.mu.RLock()
		all := s.members(key, s.self, local)
		s.mu.RUnlock()
		for _, pids := range all {
			for _, pid := range pids {
				if !yield(pid) {
					return
				}
			}
		}
	}
}

// Groups yields the groups that have members when the loop begins, on whatever node. It does not
// wait. It is pg:which_groups/1.
func (s *Scope) Groups() iter.Seq[ei.Term] {
	return func(yield func(ei.Term) bool) {
		s.mu.RLock()
		keys := s.keys()
		s.mu.RUnlock()
		for _, key := range keys {
			if !yield(groupOf(key)) {
				return
			}
		}
	}
}

// groupOf is the term of a key.
func groupOf(key string) ei.Term {
	t, err := ei.Raw(key).Decode()
	if err != nil { // a key has been decoded before
		return nil
	}
	return t
}
