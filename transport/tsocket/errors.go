package tsocket

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

// errEmpty refuses a call whose buffer is of length zero.
var errEmpty = fmt.Errorf("no buffer with a byte: %w", syscall.EINVAL)

// errUnnamed refuses the empty UNIX path where a socket is to be found.
var errUnnamed = fmt.Errorf("an unnamed socket has no address: %w", syscall.EINVAL)

func opError(op string, addr transport.Addr, err error) error {
	if err == nil {
		return nil
	}
	return &transport.OpError{Op: op, Addr: addr, Err: err}
}

// reason is why a socket is not usable, in place of an error that says so less well.
func reason(d *Datagram, err error) error {
	if err != nil {
		if u := d.usable(); u != nil {
			return u
		}
	}
	return err
}

// ofLocal names the local address in an error that is going to name the remote one.
func ofLocal(local transport.Addr, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("local address %v: %w", local, err)
}

// again reports the errors of a system call that is not ready.
func again(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
