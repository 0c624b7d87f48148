//go:build !unix

package transport

import (
	"context"
	"errors"
	"syscall"
)

const (
	canWait        = false
	defaultBacklog = 200
)

// A waiter cannot be made where descriptors cannot be duplicated into the poller; New refuses plug-ins that would need one.
type waiter struct {
	raw     syscall.RawConn
	in, out direction
}

func newWaiter(int) (*waiter, error)              { return nil, errors.ErrUnsupported }
func (w *waiter) close()                          {}
func (w *waiter) reading() *direction             { return &w.in }
func (w *waiter) writing() *direction             { return &w.out }
func (w *waiter) rawConn() syscall.RawConn        { return w.raw }
func (w *waiter) prepare(bool) error              { return nil }
func (w *waiter) quiet(bool) bool                 { return false }
func (w *waiter) sit(bool, *seats) bool           { return false }
func (w *waiter) connected(context.Context) error { return errors.ErrUnsupported }
func setNonblock(int, bool) error                 { return errors.ErrUnsupported }
func isDescriptor(fd int) bool                    { return fd >= 0 }
func kernelPending(syscall.RawConn) (int, error)  { return 0, nil }
func shutdown(int)                                {}

// dupFD leaves a descriptor as it is: here only a plug-in that waits itself knows what it is.
func dupFD(fd int) (int, error) { return fd, nil }

func sameFile(a, b int) bool { return a == b }

func closeFD(int) error { return errors.ErrUnsupported }
