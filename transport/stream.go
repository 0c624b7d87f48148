package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	// A stream reads ahead into a buffer that starts small, so that an idle connection costs
	// little, and grows while reads fill it.
	readAheadMin = 1 << 10
	readAheadMax = 64 << 10
	// A buffer of this size is filled straight from the socket; smaller ones by reading ahead: a
	// copy costs less than a system call.
	directMin = 32 << 10
)

// A Stream is a connected byte stream over a plug-in's socket. One operation a direction may be
// outstanding: a second Readv, Read or ReadPDU, or a second Writev, gets ErrBusy and the first one
// still completes. Close may be called at any time. Operations end when their context does; the
// stream stays usable, unless a write was cut off half-way. See the tsocket guide, "The
// tstream_context abstraction".
type Stream struct {
	car    carrier
	remote Addr
	how    origin

	reading, writing atomic.Bool
	state            atomic.Int32

	pausing sync.Mutex    // one Pause or Resume at a time
	asleep  atomic.Bool   // since an Export or Import the plug-in writes nothing in the background
	idle    chan struct{} // holds a token when an operation has ended while paused; made by the first Pause

	// Owned by the reader.
	buf    []byte // read ahead: buf[r:w] is received and not consumed
	r, w   int
	bulk   bool     // the last packet was large
	taken  [][]byte // buffers filled by the PDU in progress
	lost   error    // a receive ended within a packet: nobody knows where the next one begins
	ahead  atomic.Int64
	yields bool
	partly bool                  // the last packet was a part of a message: see More
	broken atomic.Pointer[error] // the last read failed with it

	// Owned by the writer.
	poison error
	rest   [][]byte // what Writev still has to write
	packet [][]byte // the packet that is written

	cut    atomic.Pointer[error] // the connection's end, as a write or PendingBytes was told, for the reader
	asking sync.Mutex            // held from asking the system, which tells once, until cut has the answer

	closeOnce sync.Once
	closeErr  error
}

// What may have become of a Stream, bit by bit; 0: it is open.
const (
	pausedRead int32 = 1 << iota
	pausedWrite
	streamDisconnected
	streamClosed
)

func newStream(c carrier, remote Addr, how origin) *Stream {
	return &Stream{car: c, remote: remote, how: how}
}

func newImported(c carrier, remote Addr, state []byte) *Stream {
	s := newStream(c, remote, imported)
	s.asleep.Store(state != nil)
	return s
}

// origin tells how a Stream came to be.
type origin uint8

const (
	connected origin = iota
	accepted
	imported
)

func (o origin) String() string { return [...]string{"connected", "accepted", "imported"}[o] }

// LocalAddr is the address of this end, for which the plug-in is asked each time; nil where it does
// not tell, and once the stream is closed.
func (s *Stream) LocalAddr() Addr { return s.car.localAddr() }

// RemoteAddr is the peer's address; nil where it is not known.
func (s *Stream) RemoteAddr() Addr { return s.remote }

// Descriptor is the plug-in's file descriptor, which stays the plug-in's; errors.ErrUnsupported
// where it has none. It does not wait.
func (s *Stream) Descriptor() (int, error) {
	if err := s.usable(); err != nil {
		return -1, opError("descriptor", s.remote, err)
	}
	fd, err := s.car.descriptor()
	return fd, opError("descriptor", s.remote, err)
}

// SyscallConn gives access to the descriptor (outside Linux to a duplicate of it), for socket
// options and the like. errors.ErrUnsupported where the plug-in has none. FullImpl plug-ins read,
// write and wait by themselves: for them only Control works.
func (s *Stream) SyscallConn() (syscall.RawConn, error) {
	raw, err := s.rawConn()
	return raw, opError("syscall conn", s.remote, err)
}

func (s *Stream) rawConn() (syscall.RawConn, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	return s.car.syscallConn()
}

// HandshakePacketHeaderSize asks the plug-in for the size of the length before a packet of the
// distribution handshake: 2 or 4, or 0: none, for the carrier keeps packets (KeepsPackets). By the
// contract it is asked once, before the first byte, so the caller, who makes the handshake, has to
// keep the answer. It waits for the callback, up to a second beyond the end of ctx
// (ErrUnresponsive). Another size is ErrContract; an error of the callback is returned.
func (s *Stream) HandshakePacketHeaderSize(ctx context.Context) (int, error) {
	if err := s.usable(); err != nil {
		return 0, opError("handshake packet header size", s.remote, err)
	}
	n, err := s.car.headerSize(ctx)
	return n, opError("handshake packet header size", s.remote, err)
}

// HandshakeComplete runs the plug-in's hook for a handshake that has succeeded:
// ConnectHandshakeComplete if we initiated it, else AcceptHandshakeComplete. It waits for the hook,
// up to a second beyond the end of ctx (ErrUnresponsive). An error of the hook closes the stream
// and is returned; nil where the plug-in has no hook. By the contract the hook is called once: that
// is the caller's to keep, for a second call runs it again. From then on the carrier keeps packets
// only if the plug-in's FrameHeaderSize says so, whose errors are returned alike.
func (s *Stream) HandshakeComplete(ctx context.Context, initiated bool) error {
	if err := s.usable(); err != nil {
		return opError("handshake complete", s.remote, err)
	}
	err := s.car.complete(ctx, initiated)
	if err != nil {
		_ = s.Close() // its error would say no more
	}
	return opError("handshake complete", s.remote, err)
}

// CheckPeer asks the plug-in whether the peer may call itself name, and waits for the answer, up to
// a second beyond the end of ctx (ErrUnresponsive). An error refuses the peer; nil also where the
// plug-in has no such check.
func (s *Stream) CheckPeer(ctx context.Context, name string) error {
	if err := s.usable(); err != nil {
		return opError("check peer", s.remote, err)
	}
	return opError("check peer", s.remote, s.car.checkPeer(ctx, name))
}

// KeepsPackets reports whether the carrier keeps packets now, so that each Writev is one, and reads
// end with them: from a HandshakePacketHeaderSize of 0 up to the handshake's end, and after that if
// the plug-in's FrameHeaderSize is 0, too.
func (s *Stream) KeepsPackets() bool { return s.car.keepsPackets() }

func (s *Stream) usable() error { return s.ready(0) }

// ready is nil unless the stream is closed, or paused in one of these directions.
func (s *Stream) ready(directions int32) error {
	switch state := s.state.Load(); {
	case state == 0:
	case state&streamClosed != 0:
		return net.ErrClosed
	case state&streamDisconnected != 0:
		return syscall.ENOTCONN
	case state&directions != 0:
		return ErrPaused
	}
	return nil
}

// beginRead claims the reading direction, and then looks for a pause once more: a pause sets its
// bit first and looks for claims then, so at least one of the two sees the other.
func (s *Stream) beginRead() error {
	if err := s.ready(pausedRead); err != nil {
		return err
	}
	if err := s.claimRead(); err != nil {
		return err
	}
	if err := s.ready(pausedRead); err != nil {
		s.endRead()
		return err
	}
	return nil
}

// beginReadOf is beginRead for an operation that takes nothing once ctx has ended, even if all that
// it wants has been read ahead.
func (s *Stream) beginReadOf(ctx context.Context) error {
	err := s.beginRead()
	if err != nil {
		return err
	}
	if err = ended(ctx); err != nil {
		s.endRead()
	}
	return err
}

func (s *Stream) claimRead() error {
	if !s.reading.CompareAndSwap(false, true) {
		return ErrBusy
	}
	return nil
}

// claimPaused is beginRead for operations that are allowed during a pause.
func (s *Stream) claimPaused() error {
	if err := s.usable(); err != nil {
		return err
	}
	return s.claimRead()
}

func (s *Stream) endRead() {
	s.shed()
	s.noteAhead()
	s.reading.Store(false)
	s.wake()
}

// noteAhead tells PendingBytes what has been read ahead.
func (s *Stream) noteAhead() {
	if n := int64(s.w - s.r); n != s.ahead.Load() {
		s.ahead.Store(n)
	}
}

func (s *Stream) endWrite() {
	s.writing.Store(false)
	s.wake()
}

// Read reads what is there, at least one byte, into p, and waits for that until ctx ends or the
// stream is closed. io.EOF, not wrapped, is the end of the stream; a p of length 0 is EINVAL. After
// the end of ctx reading can go on. Once reading has failed otherwise, as with ECONNRESET, what had
// come before can still be read, and then the error comes again, in place of io.EOF. So it is after
// a write that has been told of the connection's end, with ECONNRESET or ETIMEDOUT. ErrEndOfPacket,
// not wrapped, comes with the last bytes of a packet, or alone, where the carrier keeps packets.
func (s *Stream) Read(ctx context.Context, p []byte) (int, error) {
	if err := s.beginReadOf(ctx); err != nil {
		return 0, opError("read", s.remote, err)
	}
	defer s.endRead()
	if len(p) == 0 {
		return 0, opError("read", s.remote, errEmpty)
	}
	if s.r < s.w {
		return s.consume(p), nil
	}
	n, err := s.receive(ctx, p, false)
	if err == io.EOF || err == ErrEndOfPacket {
		return n, err
	}
	if err != nil {
		err = s.cutOff(ctx, pausedRead, err)
	}
	return n, opError("read", s.remote, err)
}

// Yield makes the next read that needs a system call let other goroutines run first: those that the
// reader has just woken with what it has read. Otherwise a reader that waits on its own thread (see
// [WithPolling]) may keep the processor from them. It is called by the reader, between two reads.
func (s *Stream) Yield() { s.yields = true }

// ExpectMore says that the packet which has just been read is a part of a message, of which the
// peer sends the next part without waiting for anything: the next packet is waited for as the rest
// of one is. It is called by the reader, between two reads, and holds until it is called again.
func (s *Stream) ExpectMore(on bool) { s.partly = on }

// receive reads from the carrier; mid says that the rest of a packet that has begun to come is
// waited for.
func (s *Stream) receive(ctx context.Context, p []byte, mid bool) (int, error) {
	if s.yields {
		s.yields = false
		runtime.Gosched()
	}
	s.car.midPacket(mid || s.partly)
	s.noteAhead()
	n, err := s.car.read(ctx, p)
	if err != nil || s.broken.Load() != nil {
		err = s.lastError(err)
	}
	return n, err
}

// consume copies from what was read ahead.
func (s *Stream) consume(p []byte) int {
	n := copy(p, s.buf[s.r:s.w])
	if s.r += n; s.r == s.w {
		s.r, s.w = 0, 0
	}
	return n
}

// Writev writes every byte of the buffers, in order, and returns their count. Buffers of length
// zero are skipped; none at all is EINVAL. A write that ctx ends with nothing out changes nothing;
// one that ends with part of it out, for whatever reason, poisons the stream: every later write is
// ErrPoisoned.
//
// A peer that has ended its own sending direction only (CloseWrite, shutdown(2)) can still read, so
// a write that it leaves no room for waits for it as for any other peer, until ctx ends; the system
// wakes the writer for nothing else meanwhile. Once the peer has closed, writes fail: EPIPE or
// ECONNRESET, at once if one waits.
//
// Where the carrier keeps packets the buffers are one packet, which may be empty, and goes out
// whole or not at all.
func (s *Stream) Writev(ctx context.Context, v ...[]byte) (int64, error) {
	if err := s.beginWrite(); err != nil {
		return 0, opError("write", s.remote, err)
	}
	defer s.endWrite()
	if s.KeepsPackets() {
		s.rest = append(s.rest[:0], v...)
		n, err := s.writePacket(ctx, s.rest)
		clear(s.rest)
		return n, opError("write", s.remote, err)
	}
	if length(v) == 0 {
		return 0, opError("write", s.remote, errEmpty)
	}
	s.rest = append(s.rest[:0], v...)
	n, left, err := s.writeRest(ctx)
	if err != nil && left && n > 0 {
		s.poison = ErrPoisoned
		// a failure, no time-out
		if ctx.Err() == nil && !isTimeout(err) && !errors.Is(err, context.DeadlineExceeded) {
			s.poison = fmt.Errorf("%w: %w", ErrPoisoned, err)
		}
	}
	clear(s.rest)
	return n, opError("write", s.remote, err)
}

func (s *Stream) beginWrite() error {
	if err := s.ready(pausedWrite); err != nil {
		return err
	}
	if !s.writing.CompareAndSwap(false, true) {
		return ErrBusy
	}
	err := s.ready(pausedWrite) // see beginRead
	if err == nil {
		err = s.poison
	}
	if err != nil {
		s.endWrite()
	}
	return err
}

// writePart writes v until ctx ends, as whole frames if frames says so; how much is out is the
// caller's affair. Only a Queue uses it.
func (s *Stream) writePart(ctx context.Context, v [][]byte, frames bool) (n int64, err error) {
	if err := s.beginWrite(); err != nil {
		return 0, err
	}
	defer s.endWrite()
	s.rest = append(s.rest[:0], v...)
	switch {
	case !s.KeepsPackets():
		n, _, err = s.writeRest(ctx)
	case frames:
		n, err = s.writeFrames(ctx)
	default:
		n, err = s.writePacket(ctx, s.rest)
	}
	clear(s.rest)
	clear(s.packet)
	return n, err
}

// writeRest writes what is in s.rest, which it changes, until all of it is out or an error ends it;
// left: some of it is not.
func (s *Stream) writeRest(ctx context.Context) (n int64, left bool, err error) {
	for v := skip(s.rest, 0); len(v) > 0; {
		// cut, for each carrier goes through the whole vector at each call
		k, err := s.car.write(ctx, v[:min(len(v), maxVector)])
		n += k
		if lost(err) { // the callback may still look at the vector
			s.rest = nil
			return n, false, err
		}
		v = skip(v, k)
		if err != nil {
			s.noteCut(err)
			return n, len(v) > 0, s.cutOff(ctx, pausedWrite, err)
		}
	}
	return n, false, nil
}

// writePacket writes the buffers as one packet.
func (s *Stream) writePacket(ctx context.Context, v [][]byte) (int64, error) {
	if v = skip(v, 0); len(v) == 0 {
		v = [][]byte{nil}
	}
	n, err := s.car.write(ctx, v)
	if lost(err) { // the callback may still look at the vector
		s.rest, s.packet = nil, nil
		return 0, err
	}
	if err != nil {
		s.noteCut(err)
		err = s.cutOff(ctx, pausedWrite, err)
	}
	return n, err
}

// skip gives v without its first n bytes, and without empty buffers before the next byte. It
// changes the buffer that is cut.
func skip(v [][]byte, n int64) [][]byte {
	i := 0
	for i < len(v) && n >= int64(len(v[i])) {
		n -= int64(len(v[i]))
		i++
	}
	if i < len(v) {
		v[i] = v[i][n:]
	}
	return v[i:]
}

// CloseWrite ends the sending direction: the peer reads what was counted as written, and then the
// end of the stream. It may be called beside a write, which it cuts off: that write and later ones
// end with EPIPE, or a plug-in's own error for that. It is errors.ErrUnsupported where the plug-in
// cannot.
func (s *Stream) CloseWrite() error {
	if err := s.usable(); err != nil {
		return opError("close write", s.remote, err)
	}
	return opError("close write", s.remote, s.car.closeWrite())
}

// Disconnect closes the stream in good order: what was counted as written still reaches the peer,
// in the background if the peer is slow, for as long as the system or the plug-in has patience.
// Over TCP, and in memory, what is outstanding is lost, and the peer sees a reset, if bytes of the
// peer's are unread or still come: CloseWrite, and reading up to the peer's end, come first then.
// With an operation outstanding it is ErrBusy, after PauseRead ErrPaused, and the stream stays as
// it is; later use is ENOTCONN, and after a Close as well net.ErrClosed. It waits for the plug-in's
// Close, a second at the most.
func (s *Stream) Disconnect() error {
	if err := s.beginRead(); err != nil {
		return opError("disconnect", s.remote, err)
	}
	defer s.endRead()
	if !s.writing.CompareAndSwap(false, true) {
		return opError("disconnect", s.remote, ErrBusy)
	}
	defer s.endWrite()
	s.state.Or(streamDisconnected)
	return s.finish("close", s.car.close)
}

// Close ends every operation at once with net.ErrClosed and closes the socket. It is idempotent. A
// plug-in's callback that does not come back within a second is reported, and leaves the socket
// open until it does.
func (s *Stream) Close() error {
	s.state.Or(streamClosed)
	return s.finish("close", s.car.close)
}

// Export gives what a hand-off must carry beside the descriptor: the plug-in's state, and the bytes
// that were read ahead and not consumed. errors.ErrUnsupported where the plug-in has no Import. No
// operation may be outstanding; the stream may be paused.
func (s *Stream) Export() (state, ahead []byte, err error) {
	if err := s.claimPaused(); err != nil {
		return nil, nil, opError("export", s.remote, err)
	}
	defer s.endRead()
	if !s.writing.CompareAndSwap(false, true) {
		return nil, nil, opError("export", s.remote, ErrBusy)
	}
	defer s.endWrite()
	state, err = s.car.export()
	if state != nil {
		s.asleep.Store(true)
	}
	return state, append([]byte(nil), s.buf[s.r:s.w]...), opError("export", s.remote, err)
}

// Release frees the socket in this process without a byte, an alert or a shutdown on the
// connection, which lives on elsewhere. As with Close, operations end with net.ErrClosed, and a
// second call gives the result of the first.
func (s *Stream) Release() error {
	s.state.Or(streamClosed)
	return s.finish("release", s.car.release)
}

func (s *Stream) finish(op string, last func() error) error {
	s.closeOnce.Do(func() { s.closeErr = opError(op, s.remote, last()) })
	return s.closeErr
}

// Preload puts bytes before what will be read: those that another process had read ahead. They are
// copied. The stream may be paused. It does not wait: ErrBusy if a read is outstanding,
// net.ErrClosed for a stream that is closed.
func (s *Stream) Preload(ahead []byte) error {
	if err := s.claimPaused(); err != nil {
		return opError("preload", s.remote, err)
	}
	defer s.endRead()
	s.unread(ahead)
	return nil
}

// unread puts bytes back before what was read ahead. If there is nothing else read ahead it reuses
// the buffer, for a packet that is put back several times, each time longer.
func (s *Stream) unread(v ...[]byte) {
	n, rest := int(length(v)), s.buf[s.r:s.w]
	if n == 0 {
		return
	}
	b := s.buf[:0]
	if len(rest) > 0 {
		b = nil
	}
	b = slices.Grow(b, max(n+len(rest), readAheadMin))
	for _, p := range v {
		b = append(b, p...)
	}
	b = append(b, rest...)
	s.buf, s.r, s.w = b[:cap(b)], 0, len(b)
}

// shed replaces a buffer longer than reading ahead needs, which only unread makes, once little is
// left in it.
func (s *Stream) shed() {
	left := s.buf[s.r:s.w]
	if len(s.buf) <= readAheadMax || len(left) > readAheadMax {
		return
	}
	s.buf = make([]byte, max(len(left), readAheadMin))
	s.r, s.w = 0, copy(s.buf, left)
}
