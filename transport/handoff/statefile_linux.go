package handoff

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
	"golang.org/x/sys/unix"
)

// sealedState reads a state of size bytes from the one descriptor in a set, and closes the set.
func sealedState(set *FDSet, size, limit int) ([]byte, error) {
	defer set.Close()
	fd, err := set.FD(0)
	if err != nil {
		return nil, fault.Malformed("a state in a descriptor that did not come")
	}
	if size > limit {
		return nil, fmt.Errorf("%w: %d bytes announced, of %d that are taken", ErrLimit, size, limit)
	}
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || got&system.Seals != system.Seals {
		return nil, fault.Malformed("a state in a file that others could change (seals %#x, %v)", got, err)
	}
	p, err := system.ReadMemoryFile(fd, size)
	if errors.Is(err, syscall.EMSGSIZE) || err == nil && len(p) != size {
		return nil, fault.Malformed("a state whose file has not the %d bytes that were announced", size)
	}
	return p, err
}
