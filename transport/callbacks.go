package transport

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"time"

	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

// Infinite is the timeout that never expires. A timeout of 0 tries once: it succeeds if the
// operation is ready, else times out.
const Infinite = patience.Infinite

// Flags tell the SDK how the callbacks behave.
type Flags uint

// FullImpl says that the callbacks implement timeouts themselves: each is the whole operation,
// within the tmo it is given. It is EI_SCLBK_FLG_FULL_IMPL of the C library. See "Who waits" in the
// package's doc.
const FullImpl Flags = 1 << 0

// Direct says, in addition to FullImpl, that Read, Write and Writev always come back as soon as
// Interrupt tells them to. They are then run on their caller's goroutine. Without it each call is
// handed to a goroutine of the socket's that can be left behind, and its result handed back, which
// costs more than a small call itself; and a Queue leaves its writes to another goroutine. A Direct
// callback that does not come back holds up its caller for as long; Close comes back all the same,
// with ErrUnresponsive.
const Direct Flags = 1 << 1

// Callbacks is a transport plug-in: one function per step of a socket's life, after the
// ei_socket_callbacks structure of the C library (ei_connect, "User Supplied Socket
// Implementation"). C is the plug-in's own socket context: a pointer or a handle, copied freely.
// Use keyed fields: more may be added.
//
// Errors are syscall.Errno values, wrapped or not; [PosixError] makes them of package net's errors
// on windows. The SDK repeats a call after EINTR, except those that are made once: Close and
// Release, which have closed all the same, the hooks, the sizes of headers and CheckPeer. A
// callback that returns nothing but EINTR, over and over without waiting, is ErrContract. Without
// [FullImpl] a callback makes one system call and returns what it got, EAGAIN and EINPROGRESS
// included; it ignores tmo, and leaves the descriptor's mode to the SDK. It must not return EAGAIN
// for a reason of its own (a rate limit): the SDK then waits for the descriptor, which is ready.
//
// With FullImpl a callback takes at most tmo, reports a time-out as os.ErrDeadlineExceeded,
// context.DeadlineExceeded or EAGAIN, and leaves the descriptor's mode as it found it. A tmo of 0
// is one try, which succeeds if the operation is ready. Package net does not try at all once a
// deadline has passed, so a plug-in over a net.Conn makes a tmo of 0 a deadline in a millisecond or
// so.
//
// An error ends the call that it comes from, and the next call asks the plug-in again. Only a fault
// of the plug-in, which is a *[CallbackError], ends the socket, as does any error of GetFD: every
// later call returns it, too. (A count below zero from Pending, or a size from
// HandshakePacketHeaderSize that is none of those below, ends its call only.) An error of a
// handshake's hook closes the stream, as does one of FrameHeaderSize.
//
// Mandatory: Socket, Close, Listen, Accept, Connect, Read, Write, HandshakePacketHeaderSize, GetFD.
// All others may be nil. [Over] calls neither Socket, Listen, Accept nor Connect: for it alone they
// may be nil, too.
type Callbacks[C any] struct {
	_ struct{} // forces keyed fields

	// Flags is FullImpl, FullImpl | Direct, or 0.
	Flags Flags
	// Name is what a hand-off calls the plug-in: the other process imports with the plug-in that
	// has this name there. Empty: the name of the type C. Optional.
	Name string

	// Socket creates a socket. addr is what it will be bound or connected to, for its family;
	// nothing is bound yet. setup is the value given to New. Mandatory.
	Socket func(setup any, addr Addr) (C, error)
	// Close closes the socket and frees c. Called once, after every other call on c has returned.
	// What a Write has counted reaches the peer all the same, if that takes it in time: the system
	// sends it in the background, or the plug-in does, for a limited time. Mandatory.
	Close func(c C) error
	// Listen binds to addr, listens, and returns the address really bound. Mandatory.
	Listen func(c C, addr Addr, backlog int) (bound Addr, err error)
	// Accept takes one connection and gives it a context of its own, with the peer's address.
	// Mandatory.
	Accept func(c C, tmo time.Duration) (C, Addr, error)
	// Connect connects to addr. Called once; after EINPROGRESS the SDK waits and reads SO_ERROR.
	// Mandatory.
	Connect func(c C, addr Addr, tmo time.Duration) error
	// Read reads at most len(p) bytes; 0 with a nil error is the end of the stream, and so is
	// io.EOF, not wrapped, in place of nil. Bytes count even beside an error; -1 beside one is no
	// byte, so that a whole callback can be "return unix.Read(fd, p)". The same holds for Write and
	// Writev. None of them uses p or v once it has returned. A carrier that keeps packets returns
	// ErrEndOfPacket, not wrapped, with the last bytes of each packet. Mandatory.
	Read func(c C, p []byte, tmo time.Duration) (int, error)
	// Write writes at least one byte of p, and leaves the bytes in p as they are: a plug-in must
	// not encrypt them in place. Bytes count even beside an error, and those that are counted reach
	// the peer without another call. So a plug-in that frames or encrypts, and has part of a frame
	// out when its time is over, counts the whole frame and sends the rest by itself, in the
	// background (package tlstransport does), or fails from then on: the next Write may bring other
	// bytes, or never come. Mandatory.
	Write func(c C, p []byte, tmo time.Duration) (int, error)
	// Writev writes at least one byte of v, in order, and leaves v, its elements and the bytes in
	// them as they are: net.Buffers.WriteTo, which does not, is to be given a copy of v. v has
	// 1,024 buffers at the most (IOV_MAX). Optional: without it buffers go to Write one by one.
	Writev func(c C, v [][]byte, tmo time.Duration) (int64, error)
	// HandshakePacketHeaderSize is the size in bytes of the length before each packet of the
	// distribution handshake: 2 (TCP) or 4 (TLS), or 0: the carrier keeps packets, so that none
	// needs a length. See "Packets" in the package's doc. Asked once, before the first handshake
	// byte. Mandatory.
	HandshakePacketHeaderSize func(c C) (int, error)
	// FrameHeaderSize is the same for the frames after the handshake: 4, or 0, beside a 0 of
	// HandshakePacketHeaderSize, if the carrier keeps packets all the time. Asked after the hook of
	// the handshake, and after Import. Optional: nil is 4.
	FrameHeaderSize func(c C) (int, error)
	// ConnectHandshakeComplete is called once, when a handshake that we started has succeeded. An
	// error closes the connection and is returned. Optional.
	ConnectHandshakeComplete func(c C) error
	// AcceptHandshakeComplete is called once, when a handshake that the peer started has succeeded,
	// as above. Optional.
	AcceptHandshakeComplete func(c C) error
	// GetFD returns the socket's descriptor: a real one, the same until Close, valid from Socket on
	// (FullImpl: from Listen, Connect, Accept or Import on). A FullImpl carrier without a
	// descriptor returns -1 and errors.ErrUnsupported every time. Mandatory.
	GetFD func(c C) (int, error)

	// CloseWrite ends the sending direction, and a Write that is in progress: that one fails at
	// once, as later ones do, with EPIPE. What they have counted reaches the peer, and then the end
	// of the stream. It is called beside them, so it must not wait for them. Over a net.Conn whose
	// CloseWrite wakes no Write (a UNIX socket's), SetWriteDeadline(time.Now()) after it does.
	// Optional.
	CloseWrite func(c C) error
	// Pending counts the received bytes already inside c (decrypted, say), beside the kernel's.
	// Optional.
	Pending func(c C) (int, error)
	// LocalAddr is the address of this end. Optional.
	LocalAddr func(c C) (Addr, error)
	// CheckPeer is asked on both sides once the peer's node name is known and before the
	// handshake's acknowledgement; an error refuses the peer. Optional.
	CheckPeer func(c C, name string) error
	// Interrupt ends the calls in flight on c at once with os.ErrDeadlineExceeded; c stays usable.
	// It is called while they run, and again until they have returned. FullImpl only. Optional:
	// without it Read and Accept are called in slices of at most 100 ms, Write and Connect are
	// ended by shutdown(2): a carrier without a descriptor needs it.
	Interrupt func(c C)
	// InterruptOne is called in the place of Interrupt, and ends the call in flight of one direction
	// alone: Write, Writev or Connect if writing, else Read or Accept. It is for a carrier whose calls
	// are better not cut off: a tls.Conn does not live on after a Write that was, nor its handshake
	// after a Read. So the SDK makes no single tries of its own either. Optional, beside Interrupt.
	InterruptOne func(c C, writing bool)
	// Abort is Close, except that the peer sees a reset. errors.ErrUnsupported says that the
	// carrier cannot do that: c is closed, and the peer sees the end of the stream. Optional: nil
	// means Close, which is a reset if GetFD gives a descriptor of TCP.
	Abort func(c C) error
	// Export returns what a hand-off must carry beside the descriptor. No call is in flight; c stays
	// usable. The result may hold keys: it belongs to the caller, who clears it after use. Writing in
	// the background (see Write) stops, and goes on with the next Read or Write of c, or of what
	// Import has made of the result: until then the connection may be another process's. Optional.
	Export func(c C) ([]byte, error)
	// Import is the other end of a hand-off: it makes a context of a descriptor and an exported
	// state (nil for a listener), of which it keeps nothing. It owns fd on success only. A plug-in
	// can be handed off exactly when it has Import. Optional.
	Import func(setup any, fd int, state []byte) (C, error)
	// importAs is Import for a descriptor that has to be a listener, or has to be a connection.
	// This package's own plug-ins have it: their Import takes either.
	importAs func(fd int, listener bool) (C, error)
	// Release frees c and its descriptor without a byte, an alert or a shutdown on the connection.
	// Optional: nil means Close, which must do the same then if there is an Import.
	Release func(c C) error
}

// check refuses what lacks a mandatory field, or cannot work; opens says that it is to open
// sockets.
func (cb *Callbacks[C]) check(opens bool) error {
	var missing []error
	for _, f := range []struct {
		name  string
		f     any
		opens bool
	}{
		{"Socket", cb.Socket, true}, {"Close", cb.Close, false}, {"Listen", cb.Listen, true},
		{"Accept", cb.Accept, true}, {"Connect", cb.Connect, true}, {"Read", cb.Read, false},
		{"Write", cb.Write, false},
		{"HandshakePacketHeaderSize", cb.HandshakePacketHeaderSize, false}, {"GetFD", cb.GetFD, false},
	} {
		if reflect.ValueOf(f.f).IsNil() && (opens || !f.opens) {
			missing = append(missing, fmt.Errorf("mandatory field Callbacks.%s is nil", f.name))
		}
	}
	if len(missing) > 0 {
		return errors.Join(missing...)
	}
	if unknown := cb.Flags &^ (FullImpl | Direct); unknown != 0 {
		return fmt.Errorf("unknown bits %#x in Callbacks.Flags", uint(unknown))
	}
	if cb.Flags&Direct != 0 && (cb.Flags&FullImpl == 0 || cb.Interrupt == nil) {
		return errors.New("flag Direct of a Callbacks needs FullImpl and Interrupt")
	}
	if cb.InterruptOne != nil && cb.Interrupt == nil {
		return errors.New("Callbacks.InterruptOne needs Interrupt")
	}
	if cb.Flags&FullImpl == 0 {
		if cb.Interrupt != nil {
			return errors.New("Callbacks.Interrupt needs FullImpl: without it the SDK does the waiting")
		}
		if !await.CanWait {
			return fmt.Errorf("waiting on a plug-in's descriptor on %s: %w; implement timeouts and set FullImpl",
				runtime.GOOS, errors.ErrUnsupported)
		}
	}
	return nil
}
