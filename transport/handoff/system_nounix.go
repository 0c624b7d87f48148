//go:build !unix

package handoff

import (
	"errors"
	"os"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

func inspect(int) (Socket, error) { return Socket{}, errors.ErrUnsupported }

// A token is never made on these systems.
type token struct{ r, w *os.File }

func newToken() (*token, error)            { return nil, errors.ErrUnsupported }
func (t *token) write() error              { return errors.ErrUnsupported }
func (t *token) takeBack() (bool, error)   { return false, errors.ErrUnsupported }
func (t *token) close() error              { return errors.Join(t.w.Close(), t.r.Close()) }
func tokenReader(*FDSet) (*os.File, error) { return nil, errors.ErrUnsupported }
func descriptorLimit(want int) int         { return want }
func lockDir(string) (func(), error)       { return nil, errors.ErrUnsupported }

// Without UNIX sockets that carry descriptors nothing in this package works: NewConn returns
// errors.ErrUnsupported.

const tellsRoom = true

type outSystem struct{}

type inSystem struct{}

type ancillary struct{}

func (*ancillary) put([]int) {}
func (*ancillary) drop()     {}

func (*outgoing) address(transport.Addr) error { return errors.ErrUnsupported }
func (*outgoing) send(int) (int, error)        { return 0, errors.ErrUnsupported }
func (*incoming) receive(int, bool) error      { return errors.ErrUnsupported }
func socketKind(syscall.RawConn) (int, error)  { return 0, errors.ErrUnsupported }
func emptyCarries(int) bool                    { return false }
func noRoom(error) bool                        { return false }
