package transport

import (
	"context"
	"errors"
	"io"

	"github.com/cnode-go/cnode/transport/internal/await"
)

// PendingBytes counts the bytes that have been received and not consumed: read ahead, inside the
// plug-in as far as the plug-in knows them (that of package tlstransport counts what it has
// decrypted), and in the kernel unless the plug-in waits by itself (FullImpl, as everything does on
// windows). It does not wait, and may be called during a read, also by ReadPDU's next.
//
// Where a connection has failed, with ECONNRESET say, PendingBytes counts what had come before, and
// once that has been read, it fails with the error that reads have. With a FullImpl plug-in it
// knows of that only after a read or a write. The end of a stream in good order is no failure: 0,
// for only a read tells of it. net.ErrClosed for a stream that is closed; other errors are those of
// the plug-in's Pending, or the system's. See tstream_pending_bytes.
func (s *Stream) PendingBytes() (int, error) {
	if err := s.usable(); err != nil {
		return 0, opError("pending bytes", s.remote, err)
	}
	n, err := s.car.pending()
	n += int(s.ahead.Load())
	if n == 0 && err == nil {
		err = s.failure()
	}
	return n, opError("pending bytes", s.remote, err)
}

// failure tells why the connection has failed, if it has.
func (s *Stream) failure() error {
	if broken := s.broken.Load(); broken != nil {
		return *broken
	}
	s.asking.Lock()
	defer s.asking.Unlock()
	if cut := s.cut.Load(); cut != nil {
		return *cut
	}
	err := s.car.connectionError()
	if err != nil {
		s.cut.Store(&err)
	}
	return err
}

// lastError returns a read's error. The system tells of a reset once, the reader or the writer or
// PendingBytes, and then of the end of the stream, as if that were in good order: in its place the
// error comes again.
func (s *Stream) lastError(err error) error {
	switch {
	case err == nil: // it was none that lasts
		s.broken.Store(nil)
	case err == io.EOF:
		if broken := s.broken.Load(); broken != nil {
			return *broken
		}
		s.asking.Lock()
		defer s.asking.Unlock()
		if cut := s.cut.Load(); cut != nil {
			return *cut
		}
	case passes(err) || err == ErrEndOfPacket:
	default:
		s.broken.Store(&err)
	}
	return err
}

// passes reports whether a read that has ended with err can be repeated.
func passes(err error) bool {
	return isOverdue(err) || errors.Is(err, context.Canceled) ||
		await.Exhausted(err)
}
