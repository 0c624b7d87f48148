package handoff

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
)

// stolen is what remains of an entry that somebody took.
const stolen = -1

// An FDSet owns descriptors: those that are still in it when it is closed are closed. Every function of this package that receives
// descriptors puts them into one, so that whatever goes wrong later, Close leaves none behind. The zero FDSet is empty and ready; a nil one
// is empty too, and cannot be added to (EINVAL). It is safe for concurrent use, and a descriptor is given out or closed once only, whoever
// asks. Nothing closes a set that is forgotten.
//
// Indices are stable: [FDSet.Steal] leaves a hole. After Close the set is empty and can be used again; its memory is reused.
type FDSet struct {
	mu   sync.Mutex
	fds  []int // stolen: a hole
	wary bool  // what a stranger has sent: neither Close nor File waits for whom it belongs to
}

// NewFDSet makes a set that owns fds. A negative number is syscall.EBADF, one that is given twice EINVAL; then all stay the caller's.
func NewFDSet(fds ...int) (*FDSet, error) {
	for i, fd := range fds {
		if fd < 0 {
			return nil, fmt.Errorf("descriptor %d at index %d: %w", fd, i, syscall.EBADF)
		}
		if slices.Contains(fds[:i], fd) {
			return nil, fmt.Errorf("descriptor %d at index %d for the second time: %w", fd, i, syscall.EINVAL)
		}
	}
	return &FDSet{fds: slices.Clone(fds)}, nil
}

// Len is the number of entries, those that have been stolen included.
func (s *FDSet) Len() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.fds)
}

// Add gives fd to the set and returns its index. A negative number is syscall.EBADF, one that is in the set already EINVAL; then it stays
// the caller's.
func (s *FDSet) Add(fd int) (index int, err error) {
	if s == nil {
		return 0, fmt.Errorf("no set: %w", syscall.EINVAL)
	}
	if fd < 0 {
		return 0, fmt.Errorf("descriptor %d: %w", fd, syscall.EBADF)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.fds, fd) {
		return 0, fmt.Errorf("descriptor %d is in the set already: %w", fd, syscall.EINVAL)
	}
	s.fds = append(s.fds, fd)
	return len(s.fds) - 1, nil
}

// FD returns the descriptor at an index, which stays the set's: it is valid until Close, or until somebody steals it. ErrNoDescriptor
// for an index beyond the set, or one that has been stolen.
func (s *FDSet) FD(index int) (int, error) {
	if s == nil {
		return 0, noDescriptor(index, 0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(index)
}

// FDs returns the descriptors that are still in the set, in order, holes left out; they stay the set's.
func (s *FDSet) FDs() []int {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.fds), func(fd int) bool { return fd == stolen })
}

// Steal takes the descriptor at an index out of the set: from now on it is the caller's. The other indices and Len stay as they are.
// ErrNoDescriptor for an index beyond the set, or one that has been stolen before.
func (s *FDSet) Steal(index int) (int, error) {
	if s == nil {
		return 0, noDescriptor(index, 0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fd, err := s.at(index)
	if err == nil {
		s.fds[index] = stolen
	}
	return fd, err
}

// StealAll takes all descriptors that are still in the set out of it, in order, holes left out: from now on they are the caller's. The set
// is empty then.
func (s *FDSet) StealAll() []int {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fds := slices.DeleteFunc(slices.Clone(s.fds), func(fd int) bool { return fd == stolen })
	s.fds = s.fds[:0]
	return fds
}

// File steals the descriptor at an index and makes a file of it, which is the caller's. ErrNoDescriptor as for Steal. The descriptor's mode
// stays as it is: one that blocks gives a file without deadlines.
func (s *FDSet) File(index int, name string) (*os.File, error) {
	fd, err := s.Steal(index)
	if err != nil {
		return nil, err
	}
	if s.wary {
		return strangersFile(fd, name)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Close closes the descriptors that are still in the set and leaves it empty. It may be called any number of times. The error says what
// the system said of those that it did not close properly; they are gone as well. A socket with SO_LINGER has Close wait for its
// peer, as close(2) does; but not one that has come with JSON, whose sender may be anybody: there the option is switched off before, for
// whoever else has the socket, too.
func (s *FDSet) Close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	var err error
	for _, fd := range s.fds { // closeAll, of which the return would follow the system call: see Conn.send
		if fd != stolen {
			if s.wary {
				notLingering(fd)
			}
			if e := closeFD(fd); e != nil {
				err = notClosed(err, fd, e)
			}
		}
	}
	s.fds = s.fds[:0]
	s.mu.Unlock()
	return err
}

// take gives many to the set, which are new by their making.
func (s *FDSet) take(fds []int) {
	s.mu.Lock()
	s.fds = append(s.fds, fds...)
	s.mu.Unlock()
}

func (s *FDSet) at(index int) (int, error) {
	if index < 0 || index >= len(s.fds) || s.fds[index] == stolen {
		return 0, noDescriptor(index, len(s.fds))
	}
	return s.fds[index], nil
}

func noDescriptor(index, size int) error {
	return fmt.Errorf("index %d of %d: %w", index, size, ErrNoDescriptor)
}

func closeAll(fds []int) (err error) {
	for _, fd := range fds {
		if fd == stolen {
			continue
		}
		if e := discard(fd); e != nil {
			err = notClosed(err, fd, e)
		}
	}
	return err
}

// discard closes a descriptor that has come and that nobody wants.
func discard(fd int) error {
	notLingering(fd)
	return closeFD(fd)
}

func notClosed(before error, fd int, err error) error {
	return errors.Join(before, fmt.Errorf("close descriptor %d: %w", fd, err))
}
