package transport

import (
	"context"
	"errors"
	"syscall"
)

// WriteSome writes as much of the buffers as the carrier takes at once, in order: one byte at
// least, for whose room it waits until ctx ends. It returns how many; the rest is the caller's to
// write. So it never leaves the stream poisoned, as a Writev that was cut off does. It is for what
// stands over a stream, to which it is what Read is for the other direction. No byte to write is
// EINVAL. Where the carrier keeps packets the buffers are one, maybe an empty one, which goes out
// whole or not at all.
func (s *Stream) WriteSome(ctx context.Context, v ...[]byte) (int64, error) {
	if err := s.beginWrite(); err != nil {
		return 0, opError("write", s.remote, err)
	}
	defer s.endWrite()
	if s.KeepsPackets() {
		n, err := s.writePacket(ctx, v)
		return n, opError("write", s.remote, err)
	}
	for len(v) > 0 && len(v[0]) == 0 {
		v = v[1:]
	}
	if len(v) == 0 {
		return 0, opError("write", s.remote, errEmpty)
	}
	n, err := s.car.write(ctx, v[:min(len(v), maxVector)])
	if err != nil {
		s.noteCut(err)
		err = s.cutOff(ctx, pausedWrite, err)
	}
	return n, opError("write", s.remote, err)
}

// noteCut keeps the connection's end, of which a write has been told, for the reader: see
// lastError.
func (s *Stream) noteCut(err error) {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ETIMEDOUT) {
		s.cut.Store(&err)
	}
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
