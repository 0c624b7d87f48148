package dist

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/cnode-go/cnode/ei"
)

// Why a handshake failed, for callers to act on; each is wrapped in a *HandshakeError.
var (
	// ErrBadCookie: the peer's digest proves that it has another cookie. As a
	// rule only the accepting side can tell: the connecting side gets
	// ErrNoProof, and this only from a peer that answers with a wrong digest.
	ErrBadCookie = errors.New("wrong cookie")
	// ErrNoProof: the peer that this side has connected to received our digest and closed the
	// connection. The protocol has no message for a wrong cookie, so this is how one shows on the
	// connecting side; the peer's log may say more.
	ErrNoProof = errors.New("the peer closes instead of proving that it knows the cookie")
	// ErrReflected: the peer's challenge is one of our own, from another handshake in progress. It
	// does not know the cookie, and wants us to answer for it: an attack.
	ErrReflected = errors.New("the peer sends back a challenge of our own: it does not know the cookie, and this is an attack")
	// ErrNotAllowed: the accepting side answered "not_allowed".
	ErrNotAllowed = errors.New("the accepting node does not allow it")
	// ErrNok: the accepting side answered "nok": both sides connect at the same
	// time and the attempt of the other side wins. Expect its connection.
	ErrNok = errors.New("simultaneous connect, the other attempt wins")
	// ErrAlive: a connection between the two nodes exists already, and the
	// connecting side has confirmed it.
	ErrAlive = errors.New("already connected")
	// ErrMissingFlags: the peer lacks flags that we require; HandshakeError.Missing has them.
	ErrMissingFlags = errors.New("mandatory distribution flags are missing")
	ErrMalformed    = errors.New("malformed handshake message") // a handshake message that breaks its layout
	// ErrUnexpected: a well-formed message that has no place here, such as a
	// dynamic name that was not asked for.
	ErrUnexpected = errors.New("unexpected handshake message")
	// ErrWrongPeer: the node that answered is not the one that was asked for.
	ErrWrongPeer = errors.New("another node than the expected one")
	// ErrSelf: both ends of the connection have the same node name.
	ErrSelf        = errors.New("a node cannot connect to its own name")
	ErrInvalidName = errors.New("invalid node name") // text that cannot be a node name (or host)
	// ErrConfig: the caller's own Self, options or verdict cannot be used.
	ErrConfig = errors.New("unusable handshake configuration")
	// ErrRefused: our own side refused the peer (CheckPeer, Decide); the reason is wrapped with it.
	ErrRefused = errors.New("peer refused")
)

// What can be wrong with a frame or a control message.
var (
	// ErrUnknownOp: a control message with an operation that this package does
	// not know. Its frame is complete: the connection stays usable.
	ErrUnknownOp = errors.New("unknown control message")
	// ErrFrame: bytes that are no frame of this connection, as a peer that breaks the protocol sends
	// them.
	ErrFrame   = errors.New("malformed frame")
	ErrTooLong = errors.New("too long for the wire") // more bytes than a length field can express
	// ErrTooMuchIncomplete: incomplete messages take more memory than Config.OverflowLimit of package
	// nodes allows.
	ErrTooMuchIncomplete = errors.New("incomplete messages take too much memory")
)

// HandshakeError is every error of a handshake: where it stopped, with whom and why. Err is one of
// the sentinels of this package, or what the connection returned (io.EOF, a time-out, a context's
// error), and passes errors.Is and errors.As.
type HandshakeError struct {
	// where it stopped: name, status, challenge, challenge_reply or challenge_ack, which every
	// handshake has in this order; alive_answer, the connecting side's answer to alive; complement,
	// the other half of a version 5 name; or config, the caller's own data before them
	Phase   string
	Peer    string // the peer's node name; "" while it is not known
	Status  Status // the status that was received or given; "" before it
	Missing Flags  // with ErrMissingFlags: what the peer lacks
	Hint    string // the most likely cause in words, where the error alone does not tell; may be ""
	Err     error  // why: a sentinel, or the error of the connection
}

// Error names the phase, the peer, the cause and, if there is one, the hint.
// Names and statuses from the wire are quoted, and a long status is cut off.
func (e *HandshakeError) Error() string {
	var b strings.Builder
	b.WriteString("dist: handshake")
	if e.Peer != "" {
		fmt.Fprintf(&b, " with %q", e.Peer)
	}
	fmt.Fprintf(&b, ": %s: %v", e.Phase, e.Err)
	if e.Missing != 0 {
		b.WriteString(": " + e.Missing.Wanted())
	}
	if e.Status != "" {
		fmt.Fprintf(&b, " (status %.80q)", string(e.Status))
	}
	if e.Hint != "" {
		b.WriteString(": " + e.Hint)
	}
	return b.String()
}

// Unwrap gives Err.
func (e *HandshakeError) Unwrap() error { return e.Err }

// Is makes an error ErrNoProof if the peer has closed the connection instead of sending its last
// message.
func (e *HandshakeError) Is(target error) bool {
	return target == ErrNoProof && e.Phase == "challenge_ack" && e.ClosedByPeer()
}

// ClosedByPeer reports whether the peer has closed the connection instead of going on.
func (e *HandshakeError) ClosedByPeer() bool {
	return errors.Is(e.Err, io.EOF) || errors.Is(e.Err, io.ErrUnexpectedEOF) ||
		errors.Is(e.Err, syscall.ECONNRESET) || errors.Is(e.Err, syscall.EPIPE)
}

// ControlError is every error about the content of a control message.
type ControlError struct {
	Op     Op     // the operation; 0 when it could not be read
	Offset int    // bytes before the fault, counted from the start of the cursor's input; -1 when encoding
	Field  string // the element concerned, in the words of Control; may be ""
	Raw    ei.Raw // with ErrUnknownOp: the whole tuple, aliasing the input
	Err    error  // ErrUnknownOp, ErrFrame or an error of package ei
}

// Error names the operation, the field and the place.
func (e *ControlError) Error() string {
	var b strings.Builder
	b.WriteString("dist: control message")
	if e.Op != 0 {
		b.WriteString(" " + e.Op.String())
	}
	if e.Field != "" {
		b.WriteString(", " + e.Field)
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, ", offset %d", e.Offset)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap gives Err.
func (e *ControlError) Unwrap() error { return e.Err }

// FrameError is every error about a frame as a whole.
type FrameError struct {
	// what its first bytes say it is: pass-through, distribution header, first fragment or fragment;
	// "" if nothing known
	Kind string
	Err  error // ErrFrame, ErrTooLong, ErrTooMuchIncomplete, one of package nodes (ErrFrameTooLong), or an error of package ei
}

// Error names the kind and the cause.
func (e *FrameError) Error() string {
	return fmt.Sprintf("dist: %s frame: %v", cmp.Or(e.Kind, "invalid"), e.Err)
}

// Unwrap gives Err.
func (e *FrameError) Unwrap() error { return e.Err }
