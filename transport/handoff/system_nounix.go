//go:build !unix

package handoff

import (
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

func inspect(int) (Socket, error) { return Socket{}, errors.ErrUnsupported }

func socketType(int) (family, kind int, listening bool, err error) {
	return 0, 0, false, errors.ErrUnsupported
}

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

const (
	hasPackets = false
	tellsRoom  = true
)

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
func closeFD(int) error                        { return errors.ErrUnsupported }
func notLingering(int)                         {}

func listenAnew(*net.UnixListener)              {}
func pending(*net.UnixListener) (bool, error)   { return false, errors.ErrUnsupported }
func sessionBuffer(syscall.RawConn, bool) error { return errors.ErrUnsupported }
func socketPair(int) ([2]int, error)            { return [2]int{}, errors.ErrUnsupported }

type pin struct{}

func (*pin) removeThen(closing func() error) error { return closing() }
func (*pin) close() error                          { return nil }
func (*pin) isAt(string) bool                      { return true }

func pinThere(string) (*pin, error) { return nil, errors.ErrUnsupported }

func autobindName() (name, dir string, err error) { return "", "", errors.ErrUnsupported }

func bindDatagram(_, _ transport.Addr) (*net.UnixConn, *pin, error) {
	return nil, nil, errors.ErrUnsupported
}

func pinned(transport.Addr, func() error) (*pin, error) { return nil, errors.ErrUnsupported }
