package handoff

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"

	"github.com/cnode-go/cnode/transport/handoff/internal/system"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// stolen replaces an entry whose descriptor has been stolen.
const stolen = -1

// An FDSet owns descriptors: Close closes those that are still in it. Every function of this
// package that receives descriptors puts them into an FDSet, so that whatever goes wrong later,
// Close leaves none behind. The zero FDSet is empty and ready to use; a nil one is empty too, and
// cannot be added to (EINVAL). It is safe for concurrent use, and each descriptor is given out or
// closed only once. A set that is dropped without Close is closed some time after it has become
// unreachable, if the garbage collector runs: so a number that FD or FDs has returned is to be used
// only while the set is still needed, by its Close say (see [runtime.KeepAlive]).
//
// Indices are stable: [FDSet.Steal] leaves a hole. After Close the set is empty and can be used
// again; its memory is reused.
type FDSet struct {
	mu   sync.Mutex
	own  *descriptors // nil: there was none yet
	wary bool         // a stranger has sent them: neither Close nor File may wait for what he has made
}

// descriptors are those of a set. They do not refer to it, and so can be closed when it is gone.
type descriptors struct {
	fds  []int // an entry that is stolen is a hole
	wary bool
}

// NewFDSet makes a set that owns fds. A negative number is syscall.EBADF, a number that is given
// twice EINVAL; then all stay the caller's.
func NewFDSet(fds ...int) (*FDSet, error) {
	for i, fd := range fds {
		if fd < 0 {
			return nil, fmt.Errorf("descriptor %d at index %d: %w", fd, i, syscall.EBADF)
		}
		if slices.Contains(fds[:i], fd) {
			return nil, fmt.Errorf("descriptor %d at index %d for the second time: %w", fd, i, syscall.EINVAL)
		}
	}
	s := new(FDSet)
	s.take(fds)
	return s, nil
}

// holds returns the descriptors of a set, to add some; s.mu is held.
func (s *FDSet) holds() *descriptors {
	if s.own == nil {
		s.own = &descriptors{wary: s.wary}
		runtime.AddCleanup(s, (*descriptors).dropped, s.own)
	}
	return s.own
}

// entries are those of a set, holes included; s.mu is held.
func (s *FDSet) entries() []int {
	if s.own == nil {
		return nil
	}
	return s.own.fds
}

// dropped closes descriptors whose set has been dropped. It does not wait for a socket that
// lingers.
func (d *descriptors) dropped() {
	if len(d.fds) > 0 {
		go func() { _ = d.close() }()
	}
}

func (d *descriptors) close() error {
	fds := d.fds
	d.fds = d.fds[:0]
	return closeAll(fds, d.wary)
}

// Len is the number of entries, those that have been stolen included.
func (s *FDSet) Len() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries())
}

// Add gives fd to the set and returns its index. A negative number is syscall.EBADF, a number that
// is in the set already EINVAL; then fd stays the caller's.
func (s *FDSet) Add(fd int) (index int, err error) {
	if s == nil {
		return 0, fmt.Errorf("no set: %w", syscall.EINVAL)
	}
	if fd < 0 {
		return 0, fmt.Errorf("descriptor %d: %w", fd, syscall.EBADF)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.holds()
	if slices.Contains(d.fds, fd) {
		return 0, fmt.Errorf("descriptor %d is in the set already: %w", fd, syscall.EINVAL)
	}
	d.fds = append(d.fds, fd)
	return len(d.fds) - 1, nil
}

// FD returns the descriptor at an index, which stays the set's: it is valid until Close, or until
// it is stolen. It is an error for an index beyond the set, or one whose descriptor has been
// stolen.
func (s *FDSet) FD(index int) (int, error) {
	if s == nil {
		return 0, noDescriptor(index, 0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at(index)
}

// FDs returns the descriptors that are still in the set, in order, holes left out; they stay the
// set's.
func (s *FDSet) FDs() []int {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.entries()), func(fd int) bool { return fd == stolen })
}

// Steal takes the descriptor at an index out of the set: from now on it is the caller's. The other
// indices and Len stay as they are. It is an error for an index beyond the set, or one whose
// descriptor has been stolen before.
func (s *FDSet) Steal(index int) (int, error) {
	if s == nil {
		return 0, noDescriptor(index, 0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fd, err := s.at(index)
	if err == nil {
		s.own.fds[index] = stolen
	}
	return fd, err
}

// StealAll takes all descriptors that are still in the set out of it, in order, holes left out:
// from now on they are the caller's. The set is empty then.
func (s *FDSet) StealAll() []int {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		return nil
	}
	fds := slices.DeleteFunc(slices.Clone(s.own.fds), func(fd int) bool { return fd == stolen })
	s.own.fds = s.own.fds[:0]
	return fds
}

// File steals the descriptor at an index and makes a file of it, which is the caller's.
// The errors are those of Steal. The descriptor's mode stays as it is: a file of a blocking
// descriptor has no deadlines.
func (s *FDSet) File(index int, name string) (*os.File, error) {
	fd, err := s.Steal(index)
	if err != nil {
		return nil, err
	}
	if s.wary {
		return system.File(fd, name)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Close closes the descriptors that are still in the set and leaves it empty. It may be called any
// number of times. The error joins the system's errors on closing; the descriptors are closed all
// the same. On a socket with SO_LINGER Close waits for the socket's peer, as close(2) does. In a
// set of package jsoncomm, whose sender may be anybody, Close switches the option off first, which
// holds for other processes that share the socket, too.
func (s *FDSet) Close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		return nil
	}
	return s.own.close()
}

// take adds descriptors that were just made, and so cannot be in the set already.
func (s *FDSet) take(fds []int) {
	s.mu.Lock()
	d := s.holds()
	d.fds = append(d.fds, fds...)
	s.mu.Unlock()
}

func (s *FDSet) at(index int) (int, error) {
	fds := s.entries()
	if index < 0 || index >= len(fds) || fds[index] == stolen {
		return 0, noDescriptor(index, len(fds))
	}
	return fds[index], nil
}

func noDescriptor(index, size int) error {
	return fmt.Errorf("index %d of %d: %w", index, size, errNoDescriptor)
}

// closeAll closes descriptors. It does not wait for a socket that lingers if it is wary.
func closeAll(fds []int, wary bool) (err error) {
	for _, fd := range fds {
		if fd == stolen {
			continue
		}
		if wary {
			system.NotLingering(fd)
		}
		if e := sys.Close(fd); e != nil {
			err = errors.Join(err, fmt.Errorf("close descriptor %d: %w", fd, e))
		}
	}
	return err
}
