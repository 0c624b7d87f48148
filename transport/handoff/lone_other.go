//go:build !linux

package handoff

import (
	"net"
	"syscall"
)

// A lone exists on Linux only: elsewhere the socket stays with the Go poller.
type lone struct{ fd int }

func (*lone) open() bool { return false }

// Only a Conn with a lone calls these.
func (*outgoing) describe() int                                 { return 0 }
func (*outSystem) call(uintptr) (n, _ uintptr, e syscall.Errno) { return 0, 0, syscall.ENOSYS }
func (*incoming) describe(bool)                                 {}
func (*inSystem) call(uintptr) (n, _ uintptr, e syscall.Errno)  { return 0, 0, syscall.ENOSYS }
func (*outSystem) clear()                                       {}
func (*inSystem) clear()                                        {}
func (*incoming) came(int, bool) error                          { return syscall.ENOSYS }

func (c *Conn) own() {}

func (*lone) closing() <-chan struct{} { return nil }

func (*lone) Close() error { return net.ErrClosed }

func (*lone) closeWrite() error { return net.ErrClosed }
