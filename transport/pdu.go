package transport

import (
	"context"
	"fmt"
	"io"
	"syscall"
)

// Readv fills every buffer of the vector and returns their length in bytes, never 0 without an
// error. An empty vector is EINVAL; empty buffers inside one are skipped. The end of the stream
// before the first byte is io.EOF, later io.ErrUnexpectedEOF, beside the number of bytes that had
// come and are in the buffers; where the carrier keeps packets it ends with the packet, with
// ErrEndOfPacket, not wrapped, beside their number. After any other error what was read is kept for
// the next call, and the count is 0.
func (s *Stream) Readv(ctx context.Context, v ...[]byte) (int64, error) {
	if err := s.beginReadOf(ctx); err != nil {
		return 0, opError("read", s.remote, err)
	}
	defer s.endRead()
	if length(v) == 0 {
		return 0, opError("read", s.remote, errEmpty)
	}
	s.taken = s.taken[:0]
	n, err := s.fill(ctx, v)
	return s.finishPDU(ctx, n, err)
}

// mostEmpty is how many vectors without room for a byte a packet may have.
const mostEmpty = 1000

// ReadPDU reads one whole packet. next hands out the next vector of buffers to fill; when it has
// seen a whole packet it returns an empty vector, and ReadPDU returns the packet's length; empty
// buffers inside a vector are skipped. next may fail, which is returned as it is, beside the number
// of bytes that the packet's buffers have got so far: they are consumed, and the next read begins
// behind them. It may ask for PendingBytes, but a read or Disconnect of its own is ErrBusy. More
// than a thousand vectors without room for a byte are EINVAL. The buffers stay the caller's and
// must keep their bytes until the packet has ended: when ctx ends inside a packet, what was read is
// kept and the next ReadPDU starts with the packet's first byte again: it copies what has come, so
// contexts much shorter than a packet takes get nowhere. The end of the stream between packets is
// io.EOF, inside one io.ErrUnexpectedEOF beside the number of its bytes that had come. The stream
// reads ahead: many small packets cost one system call. See the tsocket guide, "PDU receive helper
// functions".
//
// Where the carrier keeps packets (KeepsPackets) ReadPDU returns at the end of one, also in the
// middle of a vector: next knows no length, but gives as much room as it likes each time. It is not
// asked again then, and a length of 0 is an empty packet. An empty vector leaves the rest of the
// packet for the next read.
func (s *Stream) ReadPDU(ctx context.Context, next func() ([][]byte, error)) (int64, error) {
	if err := s.beginReadOf(ctx); err != nil {
		return 0, opError("read", s.remote, err)
	}
	defer s.endRead()
	return s.readPDU(ctx, next)
}

// readPDU is ReadPDU in a direction that is claimed.
func (s *Stream) readPDU(ctx context.Context, next func() ([][]byte, error)) (int64, error) {
	s.taken = s.taken[:0]
	var total int64
	for empty := 0; ; {
		s.noteAhead() // next may ask for PendingBytes
		v, err := next()
		if err != nil {
			clear(s.taken)
			return total, err
		}
		if len(v) == 0 {
			clear(s.taken)
			return total, nil
		}
		if length(v) == 0 {
			if empty++; empty > mostEmpty {
				err := fmt.Errorf("next does not come to an end: %d vectors of empty buffers: %w", empty, syscall.EINVAL)
				return total, opError("read", s.remote, err)
			}
			continue
		}
		n, err := s.fill(ctx, v)
		total += n
		if err == ErrEndOfPacket {
			clear(s.taken)
			return total, nil
		}
		if err != nil {
			return s.finishPDU(ctx, total, err)
		}
	}
}

// finishPDU ends a read: the bytes of an unfinished one are put back.
func (s *Stream) finishPDU(ctx context.Context, n int64, err error) (int64, error) {
	defer clear(s.taken)
	switch err {
	case nil, ErrEndOfPacket:
		return n, err
	case io.EOF:
		if n == 0 {
			return 0, io.EOF
		}
		return n, opError("read", s.remote, io.ErrUnexpectedEOF)
	}
	s.unread(s.taken...)
	return 0, opError("read", s.remote, s.cutOff(ctx, pausedRead, err))
}

// fill fills every buffer of v: from what was read ahead, then straight from the socket where the
// buffer is large, or ends with a packet, else by reading ahead.
func (s *Stream) fill(ctx context.Context, v [][]byte) (n int64, err error) {
	for _, p := range v {
		if len(p) >= directMin {
			s.bulk = true // even if all of it has been read ahead
		}
		got, begun := 0, len(s.taken) > 0
		for got < len(p) {
			if s.r < s.w {
				got += s.consume(p[got:])
				continue
			}
			if len(p)-got >= directMin || s.KeepsPackets() {
				k, err := s.receive(ctx, p[got:], begun || got > 0)
				got += k
				if err != nil {
					s.taken = append(s.taken, p[:got])
					return n + int64(got), err
				}
				continue
			}
			if err := s.readAhead(ctx, begun || got > 0); err != nil {
				s.taken = append(s.taken, p[:got])
				return n + int64(got), err
			}
		}
		s.taken = append(s.taken, p)
		n += int64(got)
	}
	return n, nil
}

// readAhead fills the empty buffer with what is there; mid: the rest of a packet is waited for.
func (s *Stream) readAhead(ctx context.Context, mid bool) error {
	if s.buf == nil {
		s.buf = make([]byte, readAheadMin)
	}
	b := s.buf
	if len(b) > readAheadMax { // unread has made it longer, for a large packet that was cut off
		b = b[:readAheadMax]
	}
	if s.bulk { // large packets: the part of one that is read ahead would be copied for nothing
		b = b[:readAheadMin]
		s.bulk = false
	}
	n, err := s.receive(ctx, b, mid)
	if lost(err) { // the callback may still write to it
		s.buf, s.r, s.w = nil, 0, 0
		return err
	}
	s.r, s.w = 0, n
	if n == len(s.buf) && n < readAheadMax { // more is waiting
		b := make([]byte, min(4*n, readAheadMax))
		copy(b, s.buf)
		s.buf = b
	}
	return err
}
