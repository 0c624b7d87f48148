package descriptor

import (
	"errors"
	"net"

	"github.com/cnode-go/cnode/transport/handoff"
)

// Conn makes a connection of a descriptor, which it owns.
func Conn(fd int) (*net.UnixConn, error) {
	f := File(fd)
	if f == nil {
		return nil, errors.ErrUnsupported
	}
	c, err := handoff.FileConn(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}
