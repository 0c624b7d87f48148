package nodes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/cookie"
	"github.com/cnode-go/cnode/nodes/internal/link"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/transport"
)

// Errors that callers may act on; test with errors.Is. Most come wrapped in an *Error. Those of a
// handshake are in package dist, those of the port mapper in package epmd.
var (
	// ErrNoCookie: Config has no Cookie, and the cookie file gives none; what is wrong with the
	// file is wrapped beside this.
	ErrNoCookie = cookie.ErrNone
	// ErrConnected: a connection to the node that was not made before is up already (Node.Stage).
	ErrConnected = peers.ErrConnected
	// ErrSuperseded: the peer's own attempt to connect has won over ours, or a newer connection
	// from the peer has replaced this one.
	ErrSuperseded = peers.ErrSuperseded
	// ErrHandshakeTimeout: a handshake, connecting included, took longer than Config.HandshakeTimeout.
	// It is context.DeadlineExceeded, too, though the caller's own context may go on.
	ErrHandshakeTimeout = fmt.Errorf("no connection within Config.HandshakeTimeout: %w", context.DeadlineExceeded)
	// ErrTickTimeout: the peer sent nothing for four tick intervals. Bytes that have come and are yet
	// to be read are a sign of life.
	ErrTickTimeout = link.ErrTickTimeout
	// ErrFrameTooLong: the peer sent a frame over Config.MaxFrame.
	ErrFrameTooLong = link.ErrFrameTooLong
	// ErrClosed: the node, connection or listener was closed on this side; or the mailbox has
	// ended, by Close or otherwise: see its Err. It is net.ErrClosed.
	ErrClosed = link.ErrClosed
	// ErrBusy: another Receive is in progress, or Start has taken over receiving and accepting.
	ErrBusy = errors.New("another Receive is in progress, or the node was started and receives and accepts by itself")
	// ErrMoved: the connection, mailbox or node goes on in another process. Nothing was sent; a
	// Call whose request was out has lost its reply. A node whose connection to a peer has moved
	// alone (Conn.Detach) does not connect to that peer by itself, lest the peer give the moved
	// connection up: sending there is ErrMoved until the peer connects to it, or Connect or Adopt
	// has been called.
	ErrMoved = link.ErrMoved
	// ErrUnnamed: a dynamic node has no name yet; its first Connect gives it one.
	ErrUnnamed = errors.New("the node has no name yet; a dynamic one is given it by its first Connect")
	// ErrTooLate: Publish, or Start, would change the creation that identifiers or connections
	// already carry. Publish, or start, before making mailboxes, servers, connections or calls;
	// what a started node serves is made in Config.Setup.
	ErrTooLate = errors.New("too late: mailboxes, connections or calls carry the node's creation already: make them in Config.Setup, or later")
	// ErrPublished: the node is published already.
	ErrPublished = errors.New("already published")
	// ErrNameTaken: the local name is registered already.
	ErrNameTaken = errors.New("name is registered already")
	// ErrNoProc: the process does not exist.
	ErrNoProc = errors.New("no such process")
	// ErrCallingSelf: a Server's function has called its own process.
	ErrCallingSelf = errors.New("a process that calls itself would wait for ever")
	// ErrNoTerm: the message is a signal, whose contents are in other fields: Reason, Ref, From.
	ErrNoTerm = errors.New("the message carries no term")
	// ErrNoConnection: there is no connection to the node: none could be made, or it was lost.
	ErrNoConnection = errors.New("no connection to the node")
	// ErrNoCluster: the node belongs to a BEAM that has started it with a private link (package
	// child), so there is no cluster to take part in.
	ErrNoCluster = errors.New("the node is in no cluster: it has a link to the BEAM that has started it alone")
	// ErrEndsUnread: the peer has read next to nothing for a Config.TickInterval, and leaves no
	// room for the signals of processes that have ended.
	ErrEndsUnread = errors.New("the peer does not read the signals of processes that have ended")
	// ErrTooManyUnread: messages that nobody receives have piled up during a Conn.RPC: call Receive.
	ErrTooManyUnread = errors.New("too many unread messages")
)

// An Error says what was attempted, with which peer, and why it failed. It is a net.Error.
type Error struct {
	Op   string // "connect", "publish", "call cnode:echo/1 at", …
	Peer string // the peer's node name, or its address while the name is not known; "" without one
	Err  error  // why
}

// Error names the attempt, the peer and the reason.
func (e *Error) Error() string {
	what, why := e.Op+": ", e.Err.Error()
	if e.Peer != "" {
		what = e.Op + " " + e.Peer + ": "
	}
	if strings.HasPrefix(why, what) { // a transport's error says as much
		return why
	}
	return what + why
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the attempt ran out of time: that of its context or of
// Config.HandshakeTimeout, the single try that NoWait of package transport allows, the time-out of
// a transport or of the port mapper; or, for what needs a connection, whether the peer has been
// silent for too long, ErrTickTimeout.
func (e *Error) Timeout() bool {
	for _, late := range []error{context.DeadlineExceeded, os.ErrDeadlineExceeded, ErrTickTimeout} {
		if errors.Is(e.Err, late) {
			return true
		}
	}
	var why net.Error
	return errors.As(e.Err, &why) && why.Timeout()
}

// Temporary is part of net.Error and always false.
func (e *Error) Temporary() bool { return false }

var _ net.Error = (*Error)(nil)

func wrap(op, peer string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{op, peer, err}
}

// An RPCError is the {badrpc, Reason} of a remote call. If Reason is {'EXIT', Why}, it wraps a
// *Raise: of class error for {Why, Stack}, and else of class exit. (rpc:call does not tell
// exit({Why, Stack}) from an error.)
type RPCError struct {
	Reason ei.Term // as {'EXIT', {undef, Stack}}, or nodedown
}

// Error is the Erlang term, or the beginning of a long one.
func (e *RPCError) Error() string { return fmt.Sprintf("{badrpc,%s}", ei.Brief(e.Reason, reasonText)) }

// Unwrap gives the exception of the function, if it was one.
func (e *RPCError) Unwrap() error {
	exit, ok := e.Reason.(ei.Tuple)
	if !ok || len(exit) != 2 || exit[0] != ei.Atom("EXIT") {
		return nil
	}
	if why, ok := exit[1].(ei.Tuple); ok && len(why) == 2 && otp.IsStack(why[1]) {
		return &Raise{ClassError, why[0], why[1]}
	}
	return &Raise{Class: ClassExit, Reason: exit[1]}
}

// An ERPCError is what erpc:call raises where a call has no result: see there. It wraps
//
//	*Raise       the function's exception: {exception, Reason, Stack} of class error,
//	             {exception, Reason} of class exit, or what it has thrown
//	*ExitError   an exit signal has ended the process that ran the function: {signal, Reason}
//	*SpawnError  the node has made no process, or there is no connection any more: {erpc, Reason}
type ERPCError struct {
	Class  Class
	Reason ei.Term
}

// Error is the class and the Erlang term, or the beginning of a long one.
func (e *ERPCError) Error() string {
	return fmt.Sprintf("%s: %s", e.Class, ei.Brief(e.Reason, reasonText))
}

// Unwrap gives what happened to the function.
func (e *ERPCError) Unwrap() error {
	if e.Class == ClassThrow {
		return &Raise{Class: ClassThrow, Reason: e.Reason}
	}
	t, _ := e.Reason.(ei.Tuple)
	switch {
	case len(t) == 3 && t[0] == ei.Atom("exception"):
		return &Raise{e.Class, t[1], t[2]}
	case len(t) == 2 && t[0] == ei.Atom("exception"):
		return &Raise{Class: e.Class, Reason: t[1]}
	case len(t) == 2 && t[0] == ei.Atom("signal"):
		return &ExitError{Reason: t[1]}
	case len(t) == 2 && t[0] == ei.Atom("erpc"):
		return &SpawnError{t[1]}
	}
	return nil
}

// A SpawnError says why a node has made no process that it was asked for. errors.Is matches the
// reason noconnection to ErrNoConnection, and notsup to errors.ErrUnsupported.
type SpawnError struct {
	Reason ei.Term // badopt, badarg, system_limit, notsup, noconnection
}

// Error names the reason.
func (e *SpawnError) Error() string { return "no process: " + ei.Brief(e.Reason, reasonText) }

// Is makes the reasons noconnection and notsup their sentinel errors.
func (e *SpawnError) Is(target error) bool {
	switch target {
	case ErrNoConnection:
		return e.Reason == noconnection
	case errors.ErrUnsupported:
		return e.Reason == notsup
	}
	return false
}

// The reasons of a SpawnError that this side gives.
const (
	noconnection = ei.Atom("noconnection")
	notsup       = ei.Atom("notsup")
)

// reasonText is how many bytes of a reason an error's text has at the most: a peer may give any
// reason.
const reasonText = 4 << 10

// An ExitError is the end of a process: of a remote one that was linked, monitored or called, or of
// a mailbox. errors.Is matches the reasons noproc and noconnection to ErrNoProc and
// ErrNoConnection.
type ExitError struct {
	Pid    ei.Pid  // zero when the process is known by name only
	Reason ei.Term // of the exit signal, or of the monitor's message
}

// Error names the process and the reason, of a long one the beginning.
func (e *ExitError) Error() string {
	if e.Pid == (ei.Pid{}) {
		return "process exited: " + ei.Brief(e.Reason, reasonText)
	}
	return fmt.Sprintf("process %v exited: %s", e.Pid, ei.Brief(e.Reason, reasonText))
}

// Is makes the reasons noproc and noconnection their sentinel errors.
func (e *ExitError) Is(target error) bool {
	switch target {
	case ErrNoProc:
		return e.Reason == ei.Atom("noproc")
	case ErrNoConnection:
		return e.Reason == ei.Atom("noconnection")
	}
	return false
}

// A TooLargeError says that a node cannot be frozen, since its peers would wait too long while its
// state is written: nothing has changed. Most likely processes do not receive their messages.
type TooLargeError struct {
	Mailboxes, Messages int           // how many, and unread
	Bytes               int           // of the messages
	Least               time.Duration // how long it would take, at least
}

// Error names the sizes and the times.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the node is too large: %d mailboxes with %d unread messages of %d bytes take at least %v to write, and %v is the most",
		e.Mailboxes, e.Messages, e.Bytes, e.Least.Round(time.Millisecond), freezeBudgetMost)
}

// A NotMovableError names the plug-in whose connections and listeners cannot be handed to another
// process: it has no Import, is below something that cannot move (virtual.Fault), or has no
// descriptor. It is errors.ErrUnsupported.
type NotMovableError struct {
	Plugin string // transport.Transport's Name
	Err    error  // why there is no descriptor; nil: it is not Movable
}

// Error names the plug-in and the reason.
func (e *NotMovableError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("plug-in %s cannot be handed off: %v", e.Plugin, e.Err)
	}
	return fmt.Sprintf("plug-in %s cannot be handed off: it has no Import, or is below something that cannot move (Fault, say)", e.Plugin)
}

// Is makes the error errors.ErrUnsupported.
func (e *NotMovableError) Is(target error) bool { return target == errors.ErrUnsupported }

// Unwrap gives the reason.
func (e *NotMovableError) Unwrap() error { return e.Err }

func addrText(a transport.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
