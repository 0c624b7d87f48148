package nodes

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/roll"
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

// words describes words. The words keep their descriptors.
func (t *descriptorTable) words(list []talk.Word) ([]states.Word, error) {
	var all []states.Word
	for _, w := range list {
		b, err := json.Marshal(w)
		if err != nil {
			return nil, err
		}
		s := states.Word{JSON: b}
		if w.FD > 0 {
			s.Descriptor = states.At(t.add(w.FD))
		}
		all = append(all, s)
	}
	return all, nil
}

// takeWords makes words from their description. On failure the descriptors of words that were
// already made are closed.
func (l *descriptorList) takeWords(all []states.Word) (list []talk.Word, err error) {
	for i := range all {
		var w talk.Word
		if err = json.Unmarshal(all[i].JSON, &w); err != nil {
			err = &StateError{"word", fmt.Errorf("%w: %w", ErrState, err)}
		} else if at := all[i].Descriptor.Index(); at >= 0 {
			w.FD, err = l.takeOne(at)
		}
		if err != nil {
			talk.DropAll(list)
			return nil, err
		}
		list = append(list, w)
	}
	return list, nil
}

// takeRoll opens the roll of a state; nil if the state has none.
func (l *descriptorList) takeRoll(p states.Place) (*roll.Roll, error) {
	at := p.Index()
	if at < 0 {
		return nil, nil
	}
	fd, err := l.takeOne(at)
	if err != nil {
		return nil, err
	}
	return roll.Open(fd)
}

// takeFirst gives the first descriptors away, as a list of its own.
func (l *descriptorList) takeFirst(n int) (*descriptorList, error) {
	fds, err := l.take(0, n)
	return &descriptorList{fds}, err
}
