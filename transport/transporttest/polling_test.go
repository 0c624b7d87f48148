//go:build unix

package transporttest

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// A pollSocket is the context of a FullImpl plug-in over TCP descriptors in blocking mode: it waits
// in poll(2) itself.
type pollSocket struct {
	fd      int
	in, out lane
}

// A lane is one direction of a pollSocket: its call in flight is woken through a pipe.
type lane struct {
	mu      sync.Mutex
	waiting bool
	pipe    [2]int // -1: no Interrupt
}

func newPollSocket(fd int, interruptible bool) (*pollSocket, error) {
	s := &pollSocket{fd: fd}
	for _, l := range []*lane{&s.in, &s.out} {
		l.pipe = [2]int{-1, -1}
		if interruptible {
			if err := unix.Pipe(l.pipe[:]); err != nil {
				return nil, errors.Join(err, s.free())
			}
			for _, fd := range l.pipe {
				unix.CloseOnExec(fd)
				if err := unix.SetNonblock(fd, true); err != nil {
					return nil, errors.Join(err, s.free())
				}
			}
		}
	}
	return s, nil
}

func (s *pollSocket) free() error {
	for _, l := range []*lane{&s.in, &s.out} {
		for _, fd := range l.pipe {
			if fd > 0 {
				unix.Close(fd)
			}
		}
	}
	return unix.Close(s.fd)
}

func (s *pollSocket) interrupt() {
	for _, l := range []*lane{&s.in, &s.out} {
		l.mu.Lock()
		if l.waiting {
			unix.Write(l.pipe[1], []byte{0})
		}
		l.mu.Unlock()
	}
}

// wait polls the descriptor for events until tmo is over or the lane is interrupted.
func (l *lane) wait(fd int, events int16, tmo time.Duration) error {
	end := time.Now().Add(tmo)
	l.mu.Lock()
	l.waiting = true
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waiting = false
		if l.pipe[0] >= 0 { // forgets an Interrupt that came too late
			var b [16]byte
			unix.Read(l.pipe[0], b[:])
		}
	}()
	for {
		ms := -1
		if tmo != transport.Infinite {
			left := max(time.Until(end), 0)
			ms = int(min((left+time.Millisecond-1)/time.Millisecond, 1<<30))
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(l.pipe[0]), Events: unix.POLLIN}}
		n, err := unix.Poll(p, ms)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case p[0].Revents != 0:
			return nil
		case n > 0:
			return os.ErrDeadlineExceeded
		case !time.Now().Before(end) && tmo != transport.Infinite:
			return os.ErrDeadlineExceeded
		}
	}
}

// polling is the plug-in, with Interrupt or without.
func polling(interruptible bool) transport.Callbacks[*pollSocket] {
	tcp := transport.TCPCallbacks()
	cb := transport.Callbacks[*pollSocket]{
		Flags: transport.FullImpl,
		Socket: func(setup any, addr transport.Addr) (*pollSocket, error) {
			fd, err := tcp.Socket(setup, addr)
			if err != nil {
				return nil, err
			}
			return newPollSocket(fd, interruptible)
		},
		Close: (*pollSocket).free,
		Listen: func(s *pollSocket, addr transport.Addr, backlog int) (transport.Addr, error) {
			return tcp.Listen(s.fd, addr, backlog)
		},
		Accept: func(s *pollSocket, tmo time.Duration) (*pollSocket, transport.Addr, error) {
			if err := s.in.wait(s.fd, unix.POLLIN, tmo); err != nil {
				return nil, nil, err
			}
			fd, peer, err := tcp.Accept(s.fd, tmo)
			if err != nil {
				return nil, nil, err
			}
			a, err := newPollSocket(fd, interruptible)
			return a, peer, err
		},
		Connect: func(s *pollSocket, addr transport.Addr, tmo time.Duration) error {
			if err := unix.SetNonblock(s.fd, true); err != nil {
				return err
			}
			err := tcp.Connect(s.fd, addr, tmo)
			if errors.Is(err, unix.EINPROGRESS) {
				if err = s.out.wait(s.fd, unix.POLLOUT, tmo); err == nil {
					var errno int
					errno, err = unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
					if err == nil && errno != 0 {
						err = unix.Errno(errno)
					}
				}
			}
			return errors.Join(err, unix.SetNonblock(s.fd, false))
		},
		Read: func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
			if err := s.in.wait(s.fd, unix.POLLIN, tmo); err != nil {
				return 0, err
			}
			return tcp.Read(s.fd, p, tmo)
		},
		Write: func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
			if err := s.out.wait(s.fd, unix.POLLOUT, tmo); err != nil {
				return 0, err
			}
			// The descriptor is in blocking mode, but this one call must not wait.
			return unix.SendmsgN(s.fd, p, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		},
		HandshakePacketHeaderSize: func(*pollSocket) (int, error) { return 4, nil },
		GetFD:                     func(s *pollSocket) (int, error) { return s.fd, nil },
		CloseWrite:                func(s *pollSocket) error { return tcp.CloseWrite(s.fd) },
		LocalAddr:                 func(s *pollSocket) (transport.Addr, error) { return tcp.LocalAddr(s.fd) },
		Export:                    func(*pollSocket) ([]byte, error) { return []byte("poll"), nil },
		Import: func(_ any, fd int, state []byte) (*pollSocket, error) {
			if state != nil && string(state) != "poll" {
				return nil, errors.New("not a state of this plug-in")
			}
			s, err := newPollSocket(fd, interruptible)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	}
	if interruptible {
		cb.Interrupt = (*pollSocket).interrupt
	}
	return cb
}

// goesOn is the plug-in without Interrupt whose Write goes on until everything is written: a Write
// that is ended returns a count together with its error. Its time-outs are named as a context's.
func goesOn() transport.Callbacks[*pollSocket] {
	cb := ownTimeouts(context.DeadlineExceeded, false)
	write := cb.Write
	cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (n int, err error) {
		for begin := time.Now(); n < len(p) && err == nil; {
			left := tmo
			if tmo != transport.Infinite {
				left = max(tmo-time.Since(begin), 0)
			}
			var k int
			k, err = write(s, p[n:], left)
			n += max(k, 0)
		}
		return n, err
	}
	return cb
}
