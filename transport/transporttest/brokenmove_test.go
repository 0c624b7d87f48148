//go:build linux

package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// moveMutants break moving.
func moveMutants() []mutant {
	return []mutant{
		{"Import fails", "Moves", ofTCP(func(_ *mess, cb *tcp) {
			cb.Import = func(any, int, []byte) (int, error) { return -1, unix.EPERM }
		})},
		{"Import takes another descriptor", "Moves", ofTCP(func(m *mess, cb *tcp) {
			cb.Import = func(_ any, fd int, _ []byte) (int, error) {
				unix.Close(fd)
				return m.opened(unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
			}
		})},
		{"Import sends a byte", "Moves", ofTCP(func(_ *mess, cb *tcp) {
			imported := cb.Import
			cb.Import = func(setup any, fd int, state []byte) (int, error) {
				if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on == 0 {
					_, _ = unix.Write(fd, []byte{0})
				}
				return imported(setup, fd, state)
			}
		})},
		{"Export ends reading", "Moves", ofPolling(func(_ *mess, cb *poll) {
			var exported sync.Map
			read, export := cb.Read, cb.Export
			cb.Export = func(s *pollSocket) ([]byte, error) { exported.Store(s, true); return export(s) }
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				if _, ok := exported.Load(s); ok {
					return 0, unix.EIO
				}
				return read(s, p, tmo)
			}
		})},
		{"Export ends writing", "Moves", ofTCP(func(_ *mess, cb *tcp) {
			cb.Export = func(fd int) ([]byte, error) { return nil, unix.Shutdown(fd, unix.SHUT_WR) }
		})},
		{"Export succeeds once", "Moves", ofPolling(func(_ *mess, cb *poll) {
			var exported sync.Map
			export := cb.Export
			cb.Export = func(s *pollSocket) ([]byte, error) {
				if _, again := exported.LoadOrStore(s, true); again {
					return nil, unix.EALREADY
				}
				return export(s)
			}
		})},
		{"Import closes the pipe that it refuses", "RefusedImport", ofTCP(func(_ *mess, cb *tcp) {
			imported := cb.Import
			cb.Import = func(setup any, fd int, state []byte) (int, error) {
				if _, err := unix.Getsockname(fd); err != nil {
					return -1, errors.Join(err, unix.Close(fd))
				}
				return imported(setup, fd, state)
			}
		})},
		{"Import closes the stream that it refuses", "RefusedImport", ofPolling(func(_ *mess, cb *poll) {
			imported := cb.Import
			cb.Import = func(setup any, fd int, state []byte) (*pollSocket, error) {
				s, err := imported(setup, fd, state)
				if err != nil {
					unix.Close(fd)
				}
				return s, err
			}
		})},
		{"Import ends the connection that it refuses", "RefusedImport", ofPolling(func(_ *mess, cb *poll) {
			imported := cb.Import
			cb.Import = func(setup any, fd int, state []byte) (*pollSocket, error) {
				s, err := imported(setup, fd, state)
				if err != nil {
					_ = unix.Shutdown(fd, unix.SHUT_RDWR)
				}
				return s, err
			}
		})},
		{"Import keeps the state that it was given", "Moves", ofPolling(func(_ *mess, cb *poll) {
			var given sync.Map
			read, imported := cb.Read, cb.Import
			cb.Import = func(setup any, fd int, state []byte) (*pollSocket, error) {
				s, err := imported(setup, fd, state)
				if err == nil {
					given.Store(s, [2][]byte{state, slices.Clone(state)})
				}
				return s, err
			}
			cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				if v, ok := given.Load(s); ok && !bytes.Equal(v.([2][]byte)[0], v.([2][]byte)[1]) {
					return 0, unix.EBADMSG
				}
				return read(s, p, tmo)
			}
		})},
		{"Import takes no listeners", "MovesListener", ofTCP(func(_ *mess, cb *tcp) {
			imported := cb.Import
			cb.Import = func(setup any, fd int, state []byte) (int, error) {
				if _, err := unix.Getpeername(fd); err != nil {
					return -1, err
				}
				return imported(setup, fd, state)
			}
		})},
		{"Release ends the connection", "Release", ofTCP(func(_ *mess, cb *tcp) {
			release := cb.Release
			cb.Release = func(fd int) error {
				_ = unix.Shutdown(fd, unix.SHUT_WR)
				return release(fd)
			}
		})},
		{"Export forgets what Write has kept", "Moves", ofPolling(keepsWritten)},
		{"a goroutine reads on after Export", "Moves", ofPolling(readsOn)},
		{"Import takes one direction for the other", "Moves", ofPolling(swapsPlaces)},
		{"Export forgets what nobody has read", "MovesMidway", ofFramed(func(f *framing) { f.In.Raw = nil })},
		{"Export forgets the frame that comes", "MovesMidway", ofFramed(func(f *framing) { f.In.Left = 0 })},
		{"Export forgets the frame that goes out", "MovesMidway", ofFramed(forgetsOut)},
		{"Export forgets the frame that goes out, and a write has no time to begin", "MovesMidway", ofPolling(func(_ *mess, cb *poll) {
			*cb = framed(*cb, forgetsOut)
			var large atomic.Int64
			write := cb.Write
			cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
				if len(p) > 1<<20 && tmo > 0 && tmo <= short && large.Add(1)%3 != 0 {
					time.Sleep(tmo)
					return 0, os.ErrDeadlineExceeded
				}
				return write(s, p, tmo)
			}
		})},
	}
}

func forgetsOut(f *framing) { f.Out.Left, f.Out.Head = 0, nil }

// ofFramed breaks the plug-in that makes frames.
func ofFramed(lose func(f *framing)) func(*mess) transport.Transport {
	return ofPolling(func(_ *mess, cb *poll) { *cb = framed(*cb, lose) })
}

// keepsWritten holds back a small write for a moment, so that more can be sent together with it;
// Export and Release ignore the bytes held back.
func keepsWritten(_ *mess, cb *poll) {
	type tail struct {
		sync.Mutex
		kept []byte
		over bool
	}
	of := ofEach[tail]()
	write, closing, closeWrite, release := cb.Write, cb.Close, cb.CloseWrite, cb.Release
	send := func(s *pollSocket, tmo time.Duration) error {
		t := of(s)
		for len(t.kept) > 0 && !t.over {
			n, err := write(s, t.kept, tmo)
			if err != nil {
				return err
			}
			t.kept = t.kept[n:]
		}
		return nil
	}
	var later func(s *pollSocket)
	later = func(s *pollSocket) {
		time.AfterFunc(moment, func() {
			t := of(s)
			t.Lock()
			defer t.Unlock()
			if errors.Is(send(s, 0), os.ErrDeadlineExceeded) {
				later(s)
			}
		})
	}
	cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
		t := of(s)
		t.Lock()
		defer t.Unlock()
		if t.over {
			return 0, unix.EPIPE
		}
		if err := send(s, tmo); err != nil {
			return 0, err
		}
		if len(p) >= 1000 {
			return write(s, p, tmo)
		}
		t.kept = slices.Clone(p)
		later(s)
		return len(p), nil
	}
	end := func(s *pollSocket, sends bool) {
		t := of(s)
		t.Lock()
		defer t.Unlock()
		if sends {
			_ = send(s, short)
		}
		t.over = true
	}
	cb.Close = func(s *pollSocket) error { end(s, true); return closing(s) }
	cb.CloseWrite = func(s *pollSocket) error { end(s, true); return closeWrite(s) }
	cb.Release = func(s *pollSocket) error { end(s, false); return release(s) }
}

// swapsPlaces masks bytes by their place in the stream, and Import mistakes the two directions'
// places for each other. A second move of the same stream puts that right again.
func swapsPlaces(_ *mess, cb *poll) {
	type places struct{ in, out atomic.Int64 }
	of := ofEach[places]()
	masked := func(p []byte, at int64) []byte {
		b := make([]byte, len(p))
		for i := range p {
			b[i] = p[i] ^ byte((at+int64(i))*7)
		}
		return b
	}
	read, write, imported := cb.Read, cb.Write, cb.Import
	cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
		n, err := read(s, p, tmo)
		if n > 0 {
			at := &of(s).in
			copy(p, masked(p[:n], at.Load()))
			at.Add(int64(n))
		}
		return n, err
	}
	cb.Write = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
		at := &of(s).out
		n, err := write(s, masked(p, at.Load()), tmo)
		at.Add(int64(max(n, 0)))
		return n, err
	}
	cb.Export = func(s *pollSocket) ([]byte, error) {
		return fmt.Appendf(nil, "poll %d %d.", of(s).in.Load(), of(s).out.Load()), nil
	}
	cb.Import = func(setup any, fd int, state []byte) (*pollSocket, error) {
		var in, out int64
		var end string
		if state != nil {
			// wrong: should be in, out
			if n, err := fmt.Sscanf(string(state), "poll %d %d%s", &out, &in, &end); n != 3 || end != "." {
				return nil, fmt.Errorf("not a state of this plug-in: %w", err)
			}
		}
		s, err := imported(setup, fd, nil)
		if err == nil {
			of(s).in.Store(in)
			of(s).out.Store(out)
		}
		return s, err
	}
}

// readsOn makes a goroutine read ahead from the first Export on: the bytes that it reads after the
// last Export are lost.
func readsOn(_ *mess, cb *poll) {
	type ahead struct {
		sync.Mutex
		got         []byte
		begun, over bool
	}
	of := ofEach[ahead]()
	read, imported, closing, release := cb.Read, cb.Import, cb.Close, cb.Release
	reads := func(s *pollSocket, a *ahead) (over bool) {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, 5)
		a.Lock()
		defer a.Unlock()
		if n <= 0 || a.over {
			return a.over
		}
		b := make([]byte, 4096)
		n, _, err := unix.Recvfrom(s.fd, b, unix.MSG_DONTWAIT)
		a.got = append(a.got, b[:max(n, 0)]...)
		// the end of the stream, which Read sees too
		return n <= 0 && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	}
	cb.Read = func(s *pollSocket, p []byte, tmo time.Duration) (int, error) {
		a := of(s)
		a.Lock()
		defer a.Unlock()
		if n := copy(p, a.got); n > 0 {
			a.got = a.got[n:]
			return n, nil
		}
		return read(s, p, min(tmo, 10*time.Millisecond)) // to let the goroutine read in between
	}
	cb.Export = func(s *pollSocket) ([]byte, error) {
		a := of(s)
		a.Lock()
		defer a.Unlock()
		if !a.begun {
			a.begun = true
			go func() {
				for !reads(s, a) {
				}
			}()
		}
		return fmt.Appendf(nil, "poll%s.", a.got), nil
	}
	cb.Import = func(setup any, fd int, state []byte) (*pollSocket, error) {
		var got []byte
		if state != nil {
			if !bytes.HasPrefix(state, []byte("poll")) || !bytes.HasSuffix(state, []byte(".")) {
				return nil, errors.New("not a state of this plug-in")
			}
			got, state = slices.Clone(state[4:len(state)-1]), state[:4]
		}
		s, err := imported(setup, fd, state)
		if err == nil {
			of(s).got = got
		}
		return s, err
	}
	end := func(s *pollSocket) {
		a := of(s)
		a.Lock()
		defer a.Unlock()
		a.over = true
	}
	cb.Close = func(s *pollSocket) error { end(s); return closing(s) }
	cb.Release = func(s *pollSocket) error { end(s); return release(s) }
}
