package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

var (
	// ErrBusy is returned when an operation of the same direction is outstanding; the outstanding
	// one goes on. It is syscall.EBUSY for errors.Is.
	ErrBusy error = busyError{}
	// ErrPoisoned is returned after a write that was cancelled, or failed, left part of its bytes
	// on the wire: the stream's framing is lost, and no later write may go out. If that write
	// failed, its error is wrapped, too.
	ErrPoisoned = errors.New("an earlier write ended half-way")
	// ErrContract is wrapped by a CallbackError: the plug-in broke a rule of the contract.
	ErrContract = errors.New("the plug-in broke its contract")
	// ErrUnresponsive is wrapped by a CallbackError: a callback did not come back within one second
	// of being ended. Its socket is dead, and is closed when the callback comes back after all:
	// until then the callback uses the socket, and perhaps the buffers that it was given.
	ErrUnresponsive = errors.New("the callback did not come back in time after it was ended")
	// ErrPanic is wrapped by a CallbackError: the callback panicked, or ended its goroutine. So it
	// is by the error of a Capture whose file did that.
	ErrPanic = errors.New("the callback panicked")
)

// busyError is EBUSY with a text that says what is busy.
type busyError struct{}

func (busyError) Error() string {
	return "another operation in this direction of the socket is outstanding"
}

// Is makes EBUSY find it.
func (busyError) Is(err error) bool { return err == syscall.EBUSY }

// ErrEndOfPacket is what Read returns, not wrapped, with the last bytes of a packet of a carrier
// that keeps packets, or alone: those before were the last ones, or the packet is empty. It is to a
// packet what io.EOF is to a stream. See "Packets" in the package's doc.
var ErrEndOfPacket = errors.New("end of packet")

// errEmpty refuses a call whose buffers, if it has any, are of length zero.
var errEmpty = fmt.Errorf("no buffer with a byte: %w", syscall.EINVAL)

// errUnnamed refuses the empty UNIX path where a socket is to be found.
var errUnnamed = fmt.Errorf("an unnamed socket has no address: %w", syscall.EINVAL)

// An OpError says which operation failed, on which address, and why. It is a net.Error.
type OpError struct {
	Op   string // "read", "connect", …: the operation attempted
	Addr Addr   // the peer's address, or the listener's own; may be nil
	Err  error  // why; a syscall.Errno, net.ErrClosed, the context's error, … is in it
}

// Error names the operation, the address if there is one, and the reason.
func (e *OpError) Error() string {
	if e.Addr == nil || e.Addr.String() == "" {
		return e.Op + ": " + e.Err.Error()
	}
	return e.Op + " " + e.Addr.String() + ": " + e.Err.Error()
}

// Unwrap gives the reason.
func (e *OpError) Unwrap() error { return e.Err }

// Timeout reports whether the operation ran out of time; as in package net it is true for
// ETIMEDOUT, too, of a peer that has been silent for so long that the system has given the
// connection up.
func (e *OpError) Timeout() bool {
	return errors.Is(e.Err, os.ErrDeadlineExceeded) || errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, syscall.ETIMEDOUT)
}

// Temporary is part of net.Error and always false.
func (e *OpError) Temporary() bool { return false }

var _ net.Error = (*OpError)(nil)

// A CallbackError is a fault of a plug-in, in one of its callbacks.
type CallbackError struct {
	Callback string // the field's name
	Err      error  // wraps ErrContract, ErrPanic or ErrUnresponsive
}

// Error names the callback and its fault.
func (e *CallbackError) Error() string {
	return "plug-in callback " + e.Callback + ": " + e.Err.Error()
}

// Unwrap gives the fault.
func (e *CallbackError) Unwrap() error { return e.Err }

func contractError(callback, format string, args ...any) error {
	return &CallbackError{callback, fmt.Errorf("%w: %s", ErrContract, fmt.Sprintf(format, args...))}
}

func opError(op string, addr Addr, err error) error {
	if err == nil {
		return nil
	}
	return &OpError{op, addr, err}
}

// again reports the errors of a system call that is not ready.
func again(err error) bool {
	if e, ok := err.(syscall.Errno); ok {
		return e == syscall.EAGAIN || e == syscall.EWOULDBLOCK
	}
	return err != nil && (errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK))
}

func interrupted(err error) bool {
	if e, ok := err.(syscall.Errno); ok {
		return e == syscall.EINTR
	}
	return err != nil && errors.Is(err, syscall.EINTR)
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// isOverdue reports a time-out of a call, or of its context.
func isOverdue(err error) bool { return isTimeout(err) || errors.Is(err, context.DeadlineExceeded) }

// reason is why a socket is not usable, in place of an error that says so less well.
func reason(of interface{ usable() error }, err error) error {
	if err != nil {
		if u := of.usable(); u != nil {
			return u
		}
	}
	return err
}
