//go:build !linux

package handoff

import (
	"errors"
	"net"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
)

func passCredentials(int, bool) error    { return errors.ErrUnsupported }
func credentialsOn(syscall.RawConn) bool { return false }

// A lone exists on Linux only: elsewhere the socket stays with the Go poller.
type lone struct{ fd int }

func (*lone) open() bool { return false }

func (*outSystem) clear() {}
func (*inSystem) clear()  {}

func (c *Conn) own() {}

func (*lone) closing() <-chan struct{} { return nil }

func (*lone) Close() error { return net.ErrClosed }

func (*lone) closeWrite() error { return net.ErrClosed }

func sealedState(set *FDSet, _, _ int) ([]byte, error) {
	return nil, errors.Join(fault.Malformed("a state in a memory file, which this system has not"), set.Close())
}

// longPath refuses a path that is longer than the address of a UNIX socket can be: only Linux names
// an open directory in a path.
func longPath(path string) (transport.Addr, error) { return transport.FromUnixPath(path) }

func shortened(path string, do func(short string) error) error { return do(path) }
