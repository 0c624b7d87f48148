package nodes

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/nametable"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// A descriptorTable collects the descriptors that a state refers to, while the state is written. It
// does not own them.
type descriptorTable struct{ fds []int }

// add puts descriptors on the table, and returns the index of the first one.
func (t *descriptorTable) add(fds ...int) (at int) {
	t.fds = append(t.fds, fds...)
	return len(t.fds) - len(fds)
}

// addOf is add for a descriptor that has to be asked for, which may fail.
func (t *descriptorTable) addOf(descriptor func() (int, error)) (at int, err error) {
	fd, err := descriptor()
	if err != nil {
		return 0, err
	}
	return t.add(fd), nil
}

// A descriptorList owns descriptors until they are taken.
type descriptorList struct{ fds []int }

// ownDescriptors is a list of descriptors that have just become this process's. Programs that this
// process starts do not inherit them.
func ownDescriptors(fds []int) *descriptorList {
	for _, fd := range fds {
		descriptor.CloseOnExec(fd)
	}
	return &descriptorList{fds: slices.Clone(fds)}
}

// take gives some of the descriptors away: whoever takes them owns them.
func (l *descriptorList) take(first, count int) ([]int, error) {
	if first < 0 || count < 0 || first > len(l.fds) || count > len(l.fds)-first {
		return nil, &StateError{"descriptors", fmt.Errorf("%w: it counts on %d, and %d were given", ErrState, first+count, len(l.fds))}
	}
	part := l.fds[first : first+count]
	if slices.Contains(part, -1) {
		return nil, &StateError{"descriptors", fmt.Errorf("%w: one is taken twice", ErrState)}
	}
	taken := slices.Clone(part)
	for i := range part {
		part[i] = -1
	}
	return taken, nil
}

// takeOne gives the descriptor at one index away.
func (l *descriptorList) takeOne(at int) (int, error) {
	fds, err := l.take(at, 1)
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

func (l *descriptorList) allTaken() error {
	for _, fd := range l.fds {
		if fd >= 0 {
			return &StateError{"descriptors", fmt.Errorf("%w: more than the state speaks of", ErrState)}
		}
	}
	return nil
}

func (l *descriptorList) close() error {
	var errs []error
	for i, fd := range l.fds {
		if fd >= 0 {
			errs = append(errs, descriptor.Close(fd))
			l.fds[i] = -1
		}
	}
	return errors.Join(errs...)
}

// describeMessages describes messages, which keep their descriptors.
func describeMessages[M talk.Message](t *descriptorTable, list []M) (all []states.LineMessage, err error) {
	for _, m := range list {
		b, err := talk.Marshal(m)
		if err != nil {
			return nil, err
		}
		s := states.LineMessage{JSON: b}
		if fd := talk.Descriptor(m); fd > 0 {
			s.Descriptor = states.At(t.add(fd))
		}
		all = append(all, s)
	}
	return all, nil
}

// takeMessages makes messages from their description. On failure the descriptors of messages that
// were already made are closed.
func takeMessages[M talk.Message](l *descriptorList, all []states.LineMessage) (list []M, err error) {
	for i := range all {
		fd := 0
		if at := all[i].Descriptor.Index(); at >= 0 {
			fd, err = l.takeOne(at)
		}
		var m talk.Message
		if err == nil {
			if m, err = talk.Parse(all[i].JSON, fd); err != nil {
				err = &StateError{"message", fmt.Errorf("%w: %w", ErrState, err)}
			}
		}
		its, ok := m.(M)
		if err == nil && !ok {
			talk.Drop(m)
			err = &StateError{"message", fmt.Errorf("%w: %T is out of place", ErrState, m)}
		}
		if err != nil {
			for _, m := range list {
				talk.Drop(m)
			}
			return nil, err
		}
		list = append(list, its)
	}
	return list, nil
}

// takeNameTable opens the name table of a state; nil if the state has none.
func (l *descriptorList) takeNameTable(p states.Place) (*nametable.Table, error) {
	at := p.Index()
	if at < 0 {
		return nil, nil
	}
	fd, err := l.takeOne(at)
	if err != nil {
		return nil, err
	}
	return nametable.Open(fd)
}

// takeFirst gives the first descriptors away, as a list of its own.
func (l *descriptorList) takeFirst(n int) (*descriptorList, error) {
	fds, err := l.take(0, n)
	return &descriptorList{fds}, err
}
