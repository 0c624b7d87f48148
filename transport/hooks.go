package transport

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// The callbacks that do not wait, and those that should not.

// getFD asks the plug-in for its descriptor; -1 if it says that it has none.
func (s *guarded[C]) getFD() (int, error) {
	fd := -1
	err := s.guard("GetFD", func() (err error) { fd, err = s.cb.GetFD(s.c); return err })
	switch {
	case fd == -1 && errors.Is(err, errors.ErrUnsupported):
		return -1, nil
	case err != nil:
		if _, named := err.(*CallbackError); !named {
			err = fmt.Errorf("plug-in callback GetFD: %w", err)
		}
		return -1, err
	// those of this package's own plug-ins are known to be sockets
	case !s.prompt && !sys.IsOpen(fd):
		return -1, contractError("GetFD", "%d is not an open descriptor", fd)
	}
	return fd, nil
}

// sameFD checks that the plug-in still names the descriptor that it named first.
func (s *guarded[C]) sameFD() error {
	fd, err := s.getFD()
	if err == nil && fd != s.fd {
		err = contractError("GetFD", "the descriptor changed from %d to %d", s.fd, fd)
	}
	if err != nil {
		return s.fail(err)
	}
	return nil
}

func (s *guarded[C]) descriptor() (int, error) {
	if err := s.beside(s.sameFD); err != nil {
		return -1, err
	}
	if s.fd < 0 {
		return -1, errors.ErrUnsupported
	}
	return s.fd, nil
}

func (s *guarded[C]) listen(addr Addr, backlog int) (bound Addr, err error) {
	err = s.guard("Listen", func() (err error) { bound, err = s.cb.Listen(s.c, addr, backlog); return err })
	if err == nil && bound == nil {
		err = contractError("Listen", "no bound address")
	}
	return bound, err
}

// callAccept leaves the connection in s.acc.
func (s *guarded[C]) callAccept(tmo time.Duration) error {
	return s.single("Accept", func() (err error) { s.acc.c, s.acc.addr, err = s.cb.Accept(s.c, tmo); return err })
}

// accepted gives n the connection that Accept has brought; use makes n usable.
func (s *guarded[C]) accepted(n *guarded[C], use func() error) error {
	var none C
	n.c, s.acc.c = s.acc.c, none
	err := begin(use, n.abandon)
	if errors.Is(err, ErrContract) {
		_ = s.fail(err)
	}
	return err
}

func (s *guarded[C]) headerSize(ctx context.Context) (int, error) {
	var size atomic.Int64 // a callback that is left behind may still write it
	err := s.within(ctx, "HandshakePacketHeaderSize", func() error {
		n, err := s.cb.HandshakePacketHeaderSize(s.c)
		size.Store(int64(n))
		return err
	})
	n := int(size.Load())
	if err == nil && n != 0 && n != 2 && n != 4 {
		err = contractError("HandshakePacketHeaderSize", "%d is none of 0, 2 and 4", n)
	}
	s.packets.Store(err == nil && n == 0)
	return n, err
}

// beginFrames asks how frames are told apart, in place of the packets of the handshake; moved says
// that the handshake was made elsewhere, if it has been made.
func (s *guarded[C]) beginFrames(moved bool) error {
	n := 4
	if s.cb.FrameHeaderSize != nil {
		err := s.guardBeside("FrameHeaderSize", func() (err error) { n, err = s.cb.FrameHeaderSize(s.c); return err })
		switch {
		case err != nil:
			return err
		case n != 0 && n != 4:
			return s.fail(contractError("FrameHeaderSize", "%d is neither 0 nor 4", n))
		case n == 0 && !moved && !s.packets.Load():
			return s.fail(contractError("FrameHeaderSize", "0, and HandshakePacketHeaderSize is not"))
		}
	}
	s.packets.Store(n == 0)
	return nil
}

func (s *guarded[C]) keepsPackets() bool { return s.packets.Load() }

func (s *guarded[C]) complete(ctx context.Context, initiated bool) error {
	name, hook := "AcceptHandshakeComplete", s.cb.AcceptHandshakeComplete
	if initiated {
		name, hook = "ConnectHandshakeComplete", s.cb.ConnectHandshakeComplete
	}
	if err := s.beside(s.sameFD); err != nil {
		return err
	}
	if hook != nil {
		if err := s.within(ctx, name, func() error { return hook(s.c) }); err != nil {
			return err
		}
	}
	return s.beginFrames(false)
}

func (s *guarded[C]) checkPeer(ctx context.Context, name string) error {
	if s.cb.CheckPeer == nil {
		return nil
	}
	return s.within(ctx, "CheckPeer", func() error { return s.cb.CheckPeer(s.c, name) })
}

func (s *guarded[C]) localAddr() Addr {
	var a Addr
	if s.cb.LocalAddr != nil {
		if err := s.guardBeside("LocalAddr", func() (err error) { a, err = s.cb.LocalAddr(s.c); return err }); err != nil {
			return nil
		}
	}
	return a
}

func (s *guarded[C]) closeWrite() error {
	if s.cb.CloseWrite == nil {
		return fmt.Errorf("the plug-in has no CloseWrite: %w", errors.ErrUnsupported)
	}
	return s.guardBeside("CloseWrite", func() error { return s.cb.CloseWrite(s.c) })
}

func (s *guarded[C]) pending() (n int, err error) {
	if s.cb.Pending == nil {
		return 0, nil
	}
	err = s.guardBeside("Pending", func() (err error) { n, err = s.cb.Pending(s.c); return err })
	if err == nil && n < 0 {
		err = contractError("Pending", "%d bytes", n)
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (s *guarded[C]) export() (state []byte, err error) {
	if s.cb.Import == nil {
		return nil, fmt.Errorf("the plug-in has no Import: %w", errors.ErrUnsupported)
	}
	if s.cb.Export == nil {
		return nil, nil
	}
	s.alone.Lock() // an Interrupt may still be about to return, and CloseWrite claims no direction
	defer s.alone.Unlock()
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.inside.Done()
	err = s.guard("Export", func() (err error) { state, err = s.cb.Export(s.c); return err })
	return state, err
}
