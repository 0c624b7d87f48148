package await

import (
	"errors"
	"syscall"
)

// Exhausted reports whether err is a lack, which passes, of descriptors, of memory or (ENOSPC of
// epoll_ctl) of watches.
func Exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOSPC) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}
