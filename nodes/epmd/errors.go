package epmd

import (
	"errors"
	"fmt"
	"net"
)

// Errors that callers may act on; test with errors.Is. Those of Client, Registered and Keeper come
// wrapped in an *Error.
var (
	// ErrNoPortMapper: the connection was refused, nobody listens there. A node can run a port
	// mapper itself (PortMapper.Embed of package nodes).
	// It is an ErrUnreachable.
	ErrNoPortMapper error = unreachable("no port mapper is listening there: start one (epmd -daemon, " +
		"or one embedded in a node)")
	ErrNotRegistered = errors.New("the name is not registered") // the port mapper does not know the name
	// ErrNameTaken: the port mapper refused to register the name; another node has it, or there is
	// no room for one more.
	ErrNameTaken = errors.New("the name is already registered by another node")
	// ErrTimeout: Client.Timeout passed. When the caller's context ends first the error is the
	// context's instead. It is an ErrUnreachable.
	ErrTimeout error = unreachable("the port mapper did not answer in time")
	// ErrUnreachable: there was no conversation with the port mapper, for whichever reason: it is
	// ErrNoPortMapper, ErrTimeout, or a fault of the network.
	ErrUnreachable = errors.New("the port mapper cannot be reached")
	// ErrNoAnswer: the port mapper closed the connection where an answer was due. It does so for
	// malformed requests, and for registrations and commands that come from another machine.
	ErrNoAnswer = errors.New("the port mapper closed the connection without a whole answer")
	// ErrProtocol: what answered does not speak the port mapper's protocol, or lies.
	ErrProtocol = errors.New("not an answer of a port mapper")
	// ErrNotAllowed: the port mapper refused a command: Kill while names are registered, Stop
	// without the relaxed command check.
	ErrNotAllowed = errors.New("the port mapper does not allow it")
	// ErrVersion: the node asked for speaks no distribution version that this module speaks.
	ErrVersion = errors.New("no distribution version in common")
	// ErrInvalid: no port mapper can have this name, or another field of a Registration is impossible;
	// nothing was sent.
	ErrInvalid = errors.New("no port mapper takes this")
	// ErrLost: the connection that holds a registration ended; the name is no longer registered.
	ErrLost = errors.New("the connection to the port mapper was lost")
	// ErrServerClosed is what Server.Serve returns after Close or Shutdown, and after a KILL_REQ was
	// obeyed (epmd -kill, Client.Kill).
	ErrServerClosed = errors.New("epmd: server closed")
	// ErrServerMoved is what Server.Serve returns when the server goes on in another process. It is
	// also an ErrServerClosed.
	ErrServerMoved = fmt.Errorf("%w here: it goes on in another process", ErrServerClosed)
	// ErrState is wrapped by the Stage of a Client and a Server when the state they are given is not
	// one of a Keeper or Server.
	ErrState = errors.New("not the state of a port mapper, or of a registration there")
)

// errKilled says what has closed the server.
var errKilled = fmt.Errorf("%w by a kill request", ErrServerClosed)

// unreachable is an error that is ErrUnreachable, too.
type unreachable string

func (e unreachable) Error() string { return string(e) }

func (unreachable) Is(target error) bool { return target == ErrUnreachable }

// Error tells which request failed, where and why. All errors of Client, Registered and Keeper are
// of this type; the reason passes through errors.Is and errors.As: the sentinels above,
// context.Canceled and context.DeadlineExceeded, net errors.
type Error struct {
	Op   string // "register", "resolve", "names", "dump", "kill", "stop", "freeze" or "adopt"
	Addr string // of the port mapper, host:port; empty when it could not be determined
	Name string // the name asked for or registered, if the request has one
	Err  error  // never nil
}

var _ net.Error = (*Error)(nil)

// Error names everything that is known.
func (e *Error) Error() string {
	s := "epmd: " + e.Op
	if e.Name != "" {
		s += fmt.Sprintf(" %q", e.Name)
	}
	if e.Addr != "" {
		s += " at " + e.Addr
	}
	return s + ": " + e.Err.Error()
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// Timeout tells whether a deadline, the context's or Client.Timeout, caused the failure.
func (e *Error) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.Is(e.Err, ErrTimeout) || errors.As(e.Err, &t) && t.Timeout()
}

// Temporary is part of net.Error and the same as Timeout.
//
// Deprecated: net.Error deprecates it.
func (e *Error) Temporary() bool { return e.Timeout() }

// wrong makes an ErrProtocol.
func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}
