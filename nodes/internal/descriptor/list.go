package descriptor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cnode-go/cnode/nodes/internal/form"
)

// A Table collects the descriptors that a state refers to, while the state is written. It
// does not own them.
type Table struct{ FDs []int }

// Add puts descriptors on the table, and returns the index of the first one.
func (t *Table) Add(fds ...int) (at int) {
	t.FDs = append(t.FDs, fds...)
	return len(t.FDs) - len(fds)
}

// AddOf is Add for a descriptor that has to be asked for, which may fail.
func (t *Table) AddOf(ask func() (int, error)) (at int, err error) {
	fd, err := ask()
	if err != nil {
		return 0, err
	}
	return t.Add(fd), nil
}

// A List owns descriptors until they are taken.
type List struct{ fds []int }

// Own is a list of descriptors that have just become this process's. Programs that this
// process starts do not inherit them.
func Own(fds []int) *List {
	for _, fd := range fds {
		CloseOnExec(fd)
	}
	return &List{fds: slices.Clone(fds)}
}

// Take gives some of the descriptors away: whoever takes them owns them.
func (l *List) Take(first, count int) ([]int, error) {
	if first < 0 || count < 0 || first > len(l.fds) || count > len(l.fds)-first {
		return nil, &form.Error{Path: "descriptors", Err: fmt.Errorf("%w: it counts on %d, and %d were given", form.ErrMalformed,
			first+count, len(l.fds))}
	}
	part := l.fds[first : first+count]
	if slices.Contains(part, -1) {
		return nil, &form.Error{Path: "descriptors", Err: fmt.Errorf("%w: one is taken twice", form.ErrMalformed)}
	}
	taken := slices.Clone(part)
	for i := range part {
		part[i] = -1
	}
	return taken, nil
}

// TakeOne gives the descriptor at one index away.
func (l *List) TakeOne(at int) (int, error) {
	fds, err := l.Take(at, 1)
	if err != nil {
		return -1, err
	}
	return fds[0], nil
}

// AllTaken is an error if there are descriptors left.
func (l *List) AllTaken() error {
	for _, fd := range l.fds {
		if fd >= 0 {
			return &form.Error{Path: "descriptors", Err: fmt.Errorf("%w: more than the state speaks of", form.ErrMalformed)}
		}
	}
	return nil
}

// Close closes those that are left.
func (l *List) Close() error {
	var errs []error
	for i, fd := range l.fds {
		if fd >= 0 {
			errs = append(errs, Close(fd))
			l.fds[i] = -1
		}
	}
	return errors.Join(errs...)
}

// TakeFirst gives the first descriptors away, as a list of its own.
func (l *List) TakeFirst(n int) (*List, error) {
	fds, err := l.Take(0, n)
	return &List{fds}, err
}
