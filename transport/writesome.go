package transport

import (
	"context"
	"errors"
	"fmt"
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

// frameHeader is the size in bytes of the length before a frame that a Queue of frames is given.
const frameHeader = 4

// errFrames refuses what is no sequence of frames.
var errFrames = fmt.Errorf("a post to a queue of frames is not made of whole frames: %w", syscall.EINVAL)

// writeFrames writes the frames that s.rest holds, which it changes, as packets, each without its
// length. n counts them with it.
func (s *Stream) writeFrames(ctx context.Context) (n int64, err error) {
	for v := skip(s.rest, 0); len(v) > 0; {
		size := int64(0)
		for range frameHeader {
			if len(v) == 0 {
				return n, errFrames
			}
			size = size<<8 | int64(v[0][0])
			v = skip(v, 1)
		}
		if length(v) < size {
			return n, errFrames
		}
		s.packet = s.packet[:0]
		for left := size; left > 0; {
			k := min(left, int64(len(v[0])))
			s.packet = append(s.packet, v[0][:k])
			left, v = left-k, skip(v, k)
		}
		if _, err := s.writePacket(ctx, s.packet); err != nil {
			return n, err
		}
		n += frameHeader + size
	}
	return n, nil
}
