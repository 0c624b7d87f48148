package virtual

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// An end is one end of a connection as Trace, Limit or Fault makes it of the stream below. At most
// one read and one write run at once. What it does not change it leaves to a through.
type end interface {
	read(ctx context.Context, p []byte) (int, error)      // at least one byte, or an error
	write(ctx context.Context, v [][]byte) (int64, error) // at least one byte, or an error
	pending() (int, error)
	closeWrite() error
	close() error
	abort() error
	release() error
	export() ([]byte, error)
	localAddr() transport.Addr
	descriptor() (int, error)
	headerSize() (int, error)
	frameHeaderSize() (int, error)
	complete(initiated bool) error
	checkPeer(name string) error
}

// A socket is the plug-in's socket context: an end of a connection, or a listener.
type socket struct {
	end
	in, out transport.TimeLimit // in is that of Accept, too

	listener *transport.Listener
	lack     atomic.Pointer[error] // why the listener below waits, for the one above to tell of
}

// callbacks are the plug-in over a Transport, or over single streams, for which it may be nil.
func (w *wrapper) callbacks() transport.Callbacks[*socket] {
	return transport.Callbacks[*socket]{
		Flags:  transport.FullImpl | transport.Direct,
		Socket: func(any, transport.Addr) (*socket, error) { return &socket{}, nil },
		Listen: w.listen,
		Accept: w.accept,
		Connect: func(*socket, transport.Addr, time.Duration) error {
			return errors.ErrUnsupported // it is the wrapper that connects
		},
		Import: func(_ any, fd int, _ []byte) (*socket, error) {
			l, err := w.below.ImportListener(fd) // streams are imported by the wrapper
			if err != nil {
				return nil, bare(err)
			}
			s := &socket{}
			s.listens(l)
			return s, nil
		},
		Read:                      (*socket).read,
		Write:                     (*socket).writeOne,
		Writev:                    (*socket).write,
		HandshakePacketHeaderSize: func(s *socket) (int, error) { return s.headerSize() },
		FrameHeaderSize:           func(s *socket) (int, error) { return s.frameHeaderSize() },
		ConnectHandshakeComplete:  func(s *socket) error { return s.complete(true) },
		AcceptHandshakeComplete:   func(s *socket) error { return s.complete(false) },
		CheckPeer:                 func(s *socket, name string) error { return s.checkPeer(name) },
		GetFD:                     w.descriptor,
		LocalAddr:                 func(s *socket) (transport.Addr, error) { return s.localAddr(), nil },
		Pending:                   func(s *socket) (int, error) { return s.pending() },
		CloseWrite:                func(s *socket) error { return s.closeWrite() },
		Export:                    func(s *socket) ([]byte, error) { return s.export() },
		Interrupt:                 func(s *socket) { s.interrupt(false); s.interrupt(true) },
		InterruptOne:              (*socket).interrupt,
		Close:                     (*socket).close,
		Release:                   (*socket).release,
		Abort:                     func(s *socket) error { return s.abort() },
	}
}

// over takes s over.
func (w *wrapper) over(s *transport.Stream, wrap func(below *transport.Stream) end) (
	*transport.Stream, error,
) {
	return transport.Over(s, w.callbacks(), func(below *transport.Stream) *socket {
		return &socket{end: wrap(below)}
	})
}

func (s *socket) read(p []byte, tmo time.Duration) (int, error) {
	return s.end.read(s.in.Context(tmo), p)
}

func (s *socket) writeOne(p []byte, tmo time.Duration) (int, error) {
	n, err := s.write([][]byte{p}, tmo)
	return int(n), err
}

func (s *socket) write(v [][]byte, tmo time.Duration) (int64, error) {
	return s.end.write(s.out.Context(tmo), v)
}

func (s *socket) interrupt(writing bool) {
	if writing {
		s.out.Interrupt()
	} else {
		s.in.Interrupt()
	}
}

func (s *socket) close() error {
	if s.listener != nil {
		return bare(s.listener.Close())
	}
	return s.end.close()
}

func (s *socket) release() error {
	if s.listener != nil {
		return bare(s.listener.Release())
	}
	return s.end.release()
}

// descriptor gives none of what cannot be handed off: what is done with it would have no faults,
// and after a reset it is closed.
func (w *wrapper) descriptor(s *socket) (int, error) {
	if w.fixed != nil {
		return -1, errors.ErrUnsupported
	}
	if s.listener != nil {
		fd, err := s.listener.Descriptor()
		return fd, bare(err)
	}
	return s.end.descriptor()
}

func (s *socket) localAddr() transport.Addr {
	if s.listener != nil {
		return s.listener.Addr()
	}
	return s.end.localAddr()
}

// listens makes s a listener over l.
func (s *socket) listens(l *transport.Listener) {
	s.listener = l
	l.Exhausted = func(err error) { // the listener above waits, and tells
		s.lack.Store(&err)
		s.in.Interrupt()
	}
}

func (w *wrapper) listen(s *socket, addr transport.Addr, backlog int) (transport.Addr, error) {
	l, err := w.below.Listen(addr, backlog)
	if err != nil {
		return nil, bare(err)
	}
	s.listens(l)
	return l.Addr(), nil
}

func (w *wrapper) accept(s *socket, tmo time.Duration) (*socket, transport.Addr, error) {
	below, err := s.listener.Accept(s.in.Context(tmo))
	if err != nil {
		if lack := s.lack.Swap(nil); lack != nil {
			err = *lack
		}
		return nil, nil, bare(err)
	}
	return &socket{end: w.wrap(below)}, below.RemoteAddr(), nil
}

// bare returns an error without its operation and address, to which the virtual socket adds its
// own.
func bare(err error) error {
	if e, ok := err.(*transport.OpError); ok {
		return e.Err
	}
	return err
}

// A through is an end that does nothing but use the stream below.
type through struct{ below *transport.Stream }

func (t through) read(ctx context.Context, p []byte) (int, error) {
	n, err := t.below.Read(ctx, p)
	return n, bare(err)
}

func (t through) write(ctx context.Context, v [][]byte) (int64, error) {
	n, err := t.below.WriteSome(ctx, v...)
	return n, bare(err)
}

func (t through) pending() (int, error) {
	n, err := t.below.PendingBytes()
	return n, bare(err)
}

func (t through) closeWrite() error { return bare(t.below.CloseWrite()) }
func (t through) close() error      { return bare(t.below.Close()) }
func (t through) abort() error      { return bare(t.below.Abort()) }
func (t through) release() error    { return bare(t.below.Release()) }

func (t through) export() ([]byte, error) {
	state, _, err := t.below.Export() // nothing is read ahead below
	return state, bare(err)
}

func (t through) localAddr() transport.Addr { return t.below.LocalAddr() }

func (t through) descriptor() (int, error) {
	fd, err := t.below.Descriptor()
	return fd, bare(err)
}

// The callbacks of the handshake have no limit of their own: whoever calls them leaves them behind.

func (t through) headerSize() (int, error) {
	n, err := t.below.HandshakePacketHeaderSize(context.Background())
	return n, bare(err)
}

func (t through) frameHeaderSize() (int, error) {
	if t.below.KeepsPackets() {
		return 0, nil
	}
	return 4, nil
}

func (t through) complete(initiated bool) error {
	return bare(t.below.HandshakeComplete(context.Background(), initiated))
}

func (t through) checkPeer(name string) error {
	return bare(t.below.CheckPeer(context.Background(), name))
}
