package front

import (
	"fmt"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// failed makes the error of an operation that has failed at an address; nil stays nil.
func failed(op string, at transport.Addr, err error) error {
	if err == nil {
		return nil
	}
	return &transport.OpError{Op: op, Addr: at, Err: err}
}

// malformed makes the error for what does not follow the format of a worker, a proxy or a front.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", handoff.ErrMalformed, fmt.Sprintf(format, args...))
}
