package transport

import (
	"errors"
	"io"
	"slices"
	"syscall"
	"time"
)

// What all sockets do before a read or a write, in the callback, and after it.

// start is nil if a direction can be used; late is what its last call has left to say.
func (s *guarded[C]) start(late *error) error {
	err := s.usable()
	if err == nil {
		err, *late = *late, nil
	}
	return err
}

// startRead gets ready for a call that reads into p.
func (s *guarded[C]) startRead(p []byte) error {
	r := &s.rd
	err := s.start(&r.late)
	if err == nil {
		r.p, r.n, r.err = p, 0, nil
	}
	return err
}

// endRead returns at least one byte in p, or an error; io.EOF is the end of the stream. If the
// plug-in has returned both bytes and an error, the bytes count. err is that of waiting.
func (s *guarded[C]) endRead(p []byte, err error) (int, error) {
	r := &s.rd
	if lost(err) { // the callback may still use r
		return 0, err
	}
	r.p = nil
	switch {
	case err != nil && r.n == 0: // bytes that came at the last moment are not lost
		return 0, err
	case r.n < 0 || r.n > len(p):
		return 0, s.fail(contractError("Read", "%d bytes read into a buffer of %d", r.n, len(p)))
	case r.n > 0 && r.err == ErrEndOfPacket:
		return r.n, ErrEndOfPacket
	case r.n > 0:
		return r.n, nil
	// Close ends a call by shutdown(2), which looks like the end of the stream
	case s.usable() != nil:
		return 0, s.usable()
	case r.err != nil:
		return 0, r.err
	}
	return 0, io.EOF
}

func (s *guarded[C]) callRead(p []byte, tmo time.Duration) (n int, err error) {
	defer s.caught("Read", &err)
	err = s.calling("Read")
	n, err = s.cb.Read(s.c, p, tmo)
	if err == ErrEndOfPacket && !s.packets.Load() {
		n, err = 0, s.fail(contractError("Read", "ErrEndOfPacket where no packets are kept: see HandshakePacketHeaderSize and FrameHeaderSize"))
	}
	return countOf(n, err), err
}

// maxVector is the length of the longest vector that a Writev is given: IOV_MAX of writev(2), the
// same on all systems.
const maxVector = 1024

// startWrite gets ready for a call that writes v, whose first buffer is not empty unless v is an
// empty packet. A packet that takes several buffers is joined where they cannot be given at once.
func (s *guarded[C]) startWrite(v [][]byte) error {
	w := &s.wr
	err := s.start(&w.late)
	if err == nil {
		w.v, w.n, w.err = v, 0, nil
		if s.packets.Load() && len(v) > 1 && (s.cb.Writev == nil || len(v) > maxVector) {
			w.v = [][]byte{slices.Concat(v...)}
		}
	}
	return err
}

// endWrite is to a write as endRead is to a read; v had size bytes.
func (s *guarded[C]) endWrite(v [][]byte, size int64, err error) (int64, error) {
	w := &s.wr
	if lost(err) {
		return 0, err
	}
	w.v = nil
	switch {
	case err != nil && w.n == 0:
		return 0, err
	case length(v) != size: // the caller still has to write the rest of it
		return 0, s.fail(contractError(s.writer(v), "it has changed the vector (as net.Buffers.WriteTo does: give that a copy)"))
	case w.n < 0 || w.n > size || w.n == 0 && size > 0 && w.err == nil:
		return 0, s.fail(contractError(s.writer(v), "%d bytes written of %d", w.n, size))
	case w.n > 0 && w.n < size && s.packets.Load():
		return 0, s.fail(contractError(s.writer(v), "%d bytes written of a packet of %d, which goes out whole or not at all", w.n, size))
	case w.n > 0:
		return w.n, nil
	}
	return 0, w.err
}

// writer is the callback that writes v.
func (s *guarded[C]) writer(v [][]byte) string {
	if s.cb.Writev != nil && len(v) > 1 {
		return "Writev"
	}
	return "Write"
}

func (s *guarded[C]) callWrite(v [][]byte, tmo time.Duration) (n int64, err error) {
	name := s.writer(v)
	defer s.caught(name, &err)
	err = s.calling(name)
	if name == "Writev" {
		n, err = s.cb.Writev(s.c, v[:min(len(v), maxVector)], tmo)
		return countOf(n, err), err
	}
	k, err := s.cb.Write(s.c, v[0], tmo)
	if k > len(v[0]) {
		return length(v) + 1, nil // out of range for the caller too
	}
	return int64(countOf(k, err)), err
}

// countOf is the count of a callback that may return what its system call gave: -1 beside an error
// is no byte.
func countOf[N int | int64](n N, err error) N {
	if n == -1 && err != nil {
		return 0
	}
	return n
}

// lasting returns the error that came together with bytes if the next call must return it: not for
// a time-out or an interruption. passed says that the call has taken all of its time.
func lasting(err error, passed bool) error {
	if err == nil || err == ErrEndOfPacket || interrupted(err) || timedOut(err, passed) {
		return nil
	}
	return err
}

// timedOut reports whether err is a time-out: ETIMEDOUT before the time has passed means a dead
// peer instead.
func timedOut(err error, passed bool) bool {
	return isOverdue(err) || again(err) || passed && errors.Is(err, syscall.ETIMEDOUT)
}
