//go:build !unix

package sock

import (
	"errors"
	"net"

	"github.com/cnode-go/cnode/transport"
)

// A Pin is never made on these systems.
type Pin struct{}

// RemoveThen calls closing.
func (*Pin) RemoveThen(closing func() error) error { return closing() }

// Close does nothing.
func (*Pin) Close() error { return nil }

// IsAt is always true.
func (*Pin) IsAt(string) bool { return true }

// PinThere fails.
func PinThere(string) (*Pin, error) { return nil, errors.ErrUnsupported }

// BindDatagram fails.
func BindDatagram(_, _ transport.Addr) (*net.UnixConn, *Pin, error) {
	return nil, nil, errors.ErrUnsupported
}

func pinned(transport.Addr, func() error) (*Pin, error) { return nil, errors.ErrUnsupported }

func listenAnew(*net.UnixListener)            {}
func pending(*net.UnixListener) (bool, error) { return false, errors.ErrUnsupported }
