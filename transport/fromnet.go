package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Net is a listener and dialer pair in the manner of package net. Dial's context carries the deadline of the connection attempt and is
// cancelled when the attempt is.
type Net struct {
	Listen func(addr Addr) (net.Listener, error)                  // nil: this transport does not listen
	Dial   func(ctx context.Context, addr Addr) (net.Conn, error) // nil: it does not connect
	// HeaderSize is the size in bytes of the length before a packet of the distribution handshake: 2, or 4 for TLS. 0 means 2.
	HeaderSize int
}

// FromNet makes a Transport of a listener and dialer pair. Its sockets have no descriptor, so they cannot be handed off.
func FromNet(n Net) Transport {
	size := n.HeaderSize
	if size == 0 {
		size = 2
	}
	return &plugin[*netSocket]{cb: &Callbacks[*netSocket]{
		Name:   "net",
		Flags:  FullImpl,
		Socket: func(any, Addr) (*netSocket, error) { return &netSocket{}, nil },
		Close:  (*netSocket).close,
		Listen: func(s *netSocket, addr Addr, _ int) (Addr, error) {
			if n.Listen == nil {
				return nil, fmt.Errorf("no Listen was given: %w", errors.ErrUnsupported)
			}
			l, err := n.Listen(addr)
			if err != nil {
				return nil, err
			}
			s.l = l
			return netAddr(l.Addr()), nil
		},
		Accept: (*netSocket).accept,
		Connect: func(s *netSocket, addr Addr, tmo time.Duration) error {
			if n.Dial == nil {
				return fmt.Errorf("no Dial was given: %w", errors.ErrUnsupported)
			}
			return s.dial(n.Dial, addr, tmo)
		},
		Read:                      (*netSocket).read,
		Write:                     (*netSocket).write,
		HandshakePacketHeaderSize: func(*netSocket) (int, error) { return size, nil },
		GetFD:                     func(*netSocket) (int, error) { return -1, errors.ErrUnsupported },
		CloseWrite: func(s *netSocket) error {
			if c, ok := s.c.(interface{ CloseWrite() error }); ok {
				return c.CloseWrite()
			}
			return errors.ErrUnsupported
		},
		LocalAddr: func(s *netSocket) (Addr, error) {
			if s.c == nil {
				return nil, syscall.ENOTCONN
			}
			return netAddr(s.c.LocalAddr()), nil
		},
		Interrupt: (*netSocket).interrupt,
	}}
}

// netAddr gives inet addresses of package net the form that AddrPort and ParseAddr know.
func netAddr(a net.Addr) Addr {
	if u, ok := a.(*net.UnixAddr); ok {
		if u.Name == "@" { // how package net shows an unnamed socket
			return UnixAddr("")
		}
		return UnixAddr(u.Name)
	}
	if ap, err := AddrPort(a); err == nil {
		return FromAddrPort(ap)
	}
	return a
}

// A netSocket is the socket context of FromNet: a listener or a connection.
type netSocket struct {
	l net.Listener
	c net.Conn

	mu     sync.Mutex
	cancel context.CancelFunc // of the dial in flight
}

func (s *netSocket) close() error {
	switch {
	case s.l != nil:
		if err := s.l.Close(); !errors.Is(err, net.ErrClosed) { // interrupt may have been first
			return err
		}
	case s.c != nil:
		return s.c.Close()
	}
	return nil
}

func deadline(tmo time.Duration) time.Time {
	if tmo == Infinite {
		return time.Time{}
	}
	return time.Now().Add(tmo)
}

func (s *netSocket) accept(tmo time.Duration) (*netSocket, Addr, error) {
	if l, ok := s.l.(interface{ SetDeadline(time.Time) error }); ok {
		if err := l.SetDeadline(tries(tmo)); err != nil {
			return nil, nil, err
		}
	}
	c, err := s.l.Accept()
	if err != nil {
		return nil, nil, err
	}
	return &netSocket{c: c}, netAddr(c.RemoteAddr()), nil
}

func (s *netSocket) dial(dial func(context.Context, Addr) (net.Conn, error), addr Addr, tmo time.Duration) error {
	ctx, cancel := context.WithCancel(context.Background())
	if tmo != Infinite {
		ctx, cancel = context.WithTimeout(context.Background(), tmo)
	}
	defer cancel()
	s.mu.Lock()
	s.cancel = cancel
	s.mu.Unlock()
	c, err := dial(ctx, addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = nil
	if err != nil {
		if ctx.Err() != nil {
			return os.ErrDeadlineExceeded
		}
		return err
	}
	s.c = c // interrupt looks at it
	return nil
}

func (s *netSocket) read(p []byte, tmo time.Duration) (int, error) {
	if err := s.c.SetReadDeadline(tries(tmo)); err != nil {
		return 0, err
	}
	n, err := s.c.Read(p)
	return n, endOfStream(err)
}

func (s *netSocket) write(p []byte, tmo time.Duration) (int, error) {
	if err := s.c.SetWriteDeadline(tries(tmo)); err != nil {
		return 0, err
	}
	return s.c.Write(p)
}

// tries is the deadline for tmo; package net does not look at a socket at all once a deadline has passed, so one try gets an
// instant.
func tries(tmo time.Duration) time.Time {
	if tmo == 0 {
		tmo = time.Millisecond
	}
	return deadline(tmo)
}

// interrupt ends the calls in flight by deadlines in the past; the next call sets its own.
func (s *netSocket) interrupt() {
	s.mu.Lock()
	if s.cancel != nil {
		s.cancel()
	}
	c := s.c
	s.mu.Unlock()
	if c != nil {
		_ = c.SetDeadline(past)
	}
	if l, ok := s.l.(interface{ SetDeadline(time.Time) error }); ok {
		_ = l.SetDeadline(past)
	} else if s.l != nil {
		_ = s.l.Close() // nothing else ends its Accept
	}
}
