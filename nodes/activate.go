package nodes

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// ErrActivation: the sockets that systemd has opened are not those that the node should listen on.
// An *ActivationError says which one.
var ErrActivation = errors.New("the sockets that systemd has opened do not fit")

// An ActivationError is about one socket that systemd has opened. It is ErrActivation.
type ActivationError struct {
	FD   int    // the socket's descriptor, 3 or more
	Name string // from LISTEN_FDNAMES; may be empty
	Also int    // the index in Config.Also that the socket is for; -1: it is for Config.Listen
	Err  error  // why it does not fit: its kind, its address, or that it does not listen
}

// Error names the socket, what it is for, and why it does not fit.
func (e *ActivationError) Error() string {
	use := "Config.Listen"
	if e.Also >= 0 {
		use = fmt.Sprintf("Config.Also[%d]", e.Also)
	}
	return fmt.Sprintf("%v: %s, for %s: %v", ErrActivation, e.Socket(), use, e.Err)
}

// Socket is the socket's number and name.
func (e *ActivationError) Socket() string {
	if e.Name == "" {
		return fmt.Sprintf("descriptor %d", e.FD)
	}
	return fmt.Sprintf("descriptor %d (%s)", e.FD, e.Name)
}

// Is makes every ActivationError match ErrActivation.
func (e *ActivationError) Is(target error) bool { return target == ErrActivation }

// Unwrap gives the reason.
func (e *ActivationError) Unwrap() error { return e.Err }

// firstActivated is the number of the first socket that a service manager passes.
const firstActivated = 3

// Activate makes the node listen on the sockets that systemd, or another service manager, has
// opened for this process (LISTEN_PID and LISTEN_FDS, see sd_listen_fds(3)), if any: the first
// socket in place of Listen, the following ones in place of the entries of Also, in order.
// Addresses without a socket are opened as usual. If an address is configured, its socket must be
// bound to it; the transports do not change. The sockets are checked now, and used by Start of a
// node or a front; they belong to this process only, so do not call Activate before workers.Join or
// Restore. If they are here, but were opened for another process, Logger has a warning.
func (cfg *Config) Activate() error {
	if pid := os.Getenv("LISTEN_PID"); pid != strconv.Itoa(os.Getpid()) {
		if s, err := handoff.Inspect(firstActivated); err == nil && s.Listening && pid != "" && cfg.Logger != nil {
			cfg.Logger.Warn("sockets that a service manager has opened are not used: they are for another process; if that is a shell, "+
				"it should start this one by exec", "LISTEN_PID", pid, "pid", os.Getpid())
		}
		return nil
	}
	if _, again := cfg.Transport.(*activated); again {
		return nil
	}
	cfg.completeTransport()
	given := os.Getenv("LISTEN_FDS")
	count, err := strconv.Atoi(given)
	if err != nil || count < 1 {
		return fmt.Errorf("%w: LISTEN_FDS is %q", ErrActivation, given)
	}
	if count > 1+len(cfg.Also) {
		return fmt.Errorf("%w: there are %d, for Config.Listen and %d addresses of Config.Also", ErrActivation, count, len(cfg.Also))
	}
	at := append([]Endpoint{{Addr: cfg.Listen}}, cfg.Also...)
	for i := range at {
		at[i].Transport = cmp.Or(at[i].Transport, cfg.Transport)
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for i := range at[:count] {
		fd := firstActivated + i
		descriptor.CloseOnExec(fd)
		if err := fits(fd, at[i]); err != nil {
			e := &ActivationError{FD: fd, Also: i - 1, Err: err}
			if i < len(names) {
				e.Name = names[i]
			}
			return e
		}
		at[i].Transport = &activated{Transport: at[i].Transport, fd: fd}
	}
	cfg.Transport, cfg.Also = at[0].Transport, at[1:]
	return nil
}

// fits says why a descriptor is not a listening socket for an endpoint: of the kind that its
// transport needs, and at its address if it has one.
func fits(fd int, at Endpoint) error {
	s, err := handoff.Inspect(fd)
	if err != nil {
		return err
	}
	// only TCP and UNIX are checked: other plug-ins know themselves what sockets they take
	name := at.Transport.Name()
	ours := name == transport.TCP().Name() || name == transport.Unix().Name()
	_, notInet := transport.AddrPort(at.Addr)
	switch {
	case s.Type != syscall.SOCK_STREAM && (ours || s.Type == syscall.SOCK_DGRAM):
		return fmt.Errorf("a socket of type %d, which is not one of streams", s.Type)
	case name == transport.Unix().Name() && s.Domain != syscall.AF_UNIX:
		return fmt.Errorf("no UNIX socket, but one at %v", s.Local)
	case (name == transport.TCP().Name() || notInet == nil) && s.Domain != syscall.AF_INET && s.Domain != syscall.AF_INET6:
		return fmt.Errorf("no IP socket, but one at %v", s.Local)
	case !at.IsAt(s.Local):
		return fmt.Errorf("it is at %v, not at %v", s.Local, at.Addr)
	}
	return s.Listener()
}

// IsAt tells whether an address fits the endpoint's: an endpoint without an address fits any
// address, and one with port 0 any port.
func (e Endpoint) IsAt(a transport.Addr) bool {
	if e.Addr == nil || a == nil || e.Addr.String() == a.String() {
		return e.Addr == nil || a != nil
	}
	want, err := transport.AddrPort(e.Addr)
	if err != nil || want.Port() != 0 {
		return false
	}
	has, err := transport.AddrPort(a)
	return err == nil && has.Addr() == want.Addr()
}

// An activated transport already has the socket of its first listener.
type activated struct {
	transport.Transport
	fd   int
	used atomic.Bool
}

func (t *activated) Listen(addr transport.Addr, backlog int) (*transport.Listener, error) {
	if t.used.Swap(true) {
		return t.Transport.Listen(addr, backlog)
	}
	l, err := t.ImportListener(t.fd)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d of LISTEN_FDS: %w", t.fd, err)
	}
	l.KeepPath()
	return l, nil
}
