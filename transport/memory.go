package transport

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/internal/patience"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// memoryWindow is how many bytes one direction of an in-memory connection holds before its writer
// waits.
const memoryWindow = 64 << 10

// A MemoryAddr is the name of an endpoint of an in-memory transport. To listen at "" takes a name
// that is free.
type MemoryAddr string

// Network returns "memory".
func (a MemoryAddr) Network() string { return "memory" }

// String returns "memory:" and the name.
func (a MemoryAddr) String() string { return "memory:" + string(a) }

// NewMemory returns an in-memory transport: a world of its own, in which its listeners and
// connections find each other by MemoryAddr. It is FullImpl, has no descriptors, and behaves as a
// TCP connection does, reset included.
func NewMemory() Transport {
	w := &memoryWorld{listeners: map[MemoryAddr]*memorySocket{}}
	return &plugin[*memorySocket]{cb: &Callbacks[*memorySocket]{
		Name:                      "memory",
		Flags:                     FullImpl,
		Socket:                    func(any, Addr) (*memorySocket, error) { return newMemorySocket(w), nil },
		Close:                     (*memorySocket).close,
		Listen:                    (*memorySocket).listen,
		Accept:                    (*memorySocket).accept,
		Connect:                   (*memorySocket).connect,
		Read:                      func(s *memorySocket, p []byte, tmo time.Duration) (int, error) { return s.in.read(s, p, tmo) },
		Write:                     func(s *memorySocket, p []byte, tmo time.Duration) (int, error) { return s.out.write(s, p, tmo) },
		HandshakePacketHeaderSize: func(*memorySocket) (int, error) { return 2, nil },
		GetFD:                     func(*memorySocket) (int, error) { return -1, errors.ErrUnsupported },
		CloseWrite:                func(s *memorySocket) error { s.out.end(nil); return nil },
		Pending:                   func(s *memorySocket) (int, error) { return s.in.pending(), nil },
		LocalAddr:                 func(s *memorySocket) (Addr, error) { return s.local, nil },
		Interrupt:                 (*memorySocket).interrupt,
	}}
}

// A memoryWorld holds the listeners of one in-memory transport.
type memoryWorld struct {
	mu        sync.Mutex
	listeners map[MemoryAddr]*memorySocket
	names     int
}

// A memorySocket is the socket context of the in-memory plug-in: a listener, or one end of a
// connection.
type memorySocket struct {
	world         *memoryWorld
	local, remote MemoryAddr
	in, out       *memoryPipe
	queue         chan *memorySocket // a listener's backlog
	gone          chan struct{}      // a listener's end

	mu   sync.Mutex
	kick chan struct{} // closed by interrupt
}

func newMemorySocket(w *memoryWorld) *memorySocket {
	return &memorySocket{world: w, kick: make(chan struct{})}
}

func (s *memorySocket) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.kick)
	s.kick = make(chan struct{})
}

func (s *memorySocket) interrupted() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kick
}

func (s *memorySocket) listen(addr Addr, backlog int) (Addr, error) {
	name, ok := plain(addr).(MemoryAddr)
	if !ok {
		return nil, otherFamily(addr)
	}
	w := s.world
	w.mu.Lock()
	defer w.mu.Unlock()
	for name == "" {
		w.names++
		if n := MemoryAddr(fmt.Sprintf("%d", w.names)); w.listeners[n] == nil {
			name = n
		}
	}
	if w.listeners[name] != nil {
		return nil, syscall.EADDRINUSE
	}
	s.local, s.queue, s.gone = name, make(chan *memorySocket, min(backlog, sys.Backlog)), make(chan struct{})
	w.listeners[name] = s
	return name, nil
}

func (s *memorySocket) accept(tmo time.Duration) (*memorySocket, Addr, error) {
	select { // a connection that is ready takes precedence over a time-out of 0
	case c := <-s.queue:
		return c, c.remote, nil
	default:
	}
	kick := s.interrupted()
	fires, stop := patience.Expiry(tmo)
	defer stop()
	select {
	case c := <-s.queue:
		return c, c.remote, nil
	case <-fires:
	case <-kick:
	}
	return nil, nil, os.ErrDeadlineExceeded
}

func (s *memorySocket) connect(addr Addr, tmo time.Duration) error {
	name, ok := plain(addr).(MemoryAddr)
	if !ok {
		return otherFamily(addr)
	}
	w := s.world
	w.mu.Lock()
	l := w.listeners[name]
	w.names++
	s.local, s.remote = MemoryAddr(fmt.Sprintf("client-%d", w.names)), name
	w.mu.Unlock()
	if l == nil {
		return syscall.ECONNREFUSED
	}
	s.in, s.out = newMemoryPipe(), newMemoryPipe()
	far := newMemorySocket(w)
	far.local, far.remote, far.in, far.out = name, s.local, s.out, s.in
	select {
	case l.queue <- far:
		l.queued()
		return nil
	default:
	}
	kick := s.interrupted()
	fires, stop := patience.Expiry(tmo)
	defer stop()
	select {
	case l.queue <- far:
		l.queued()
		return nil
	case <-l.gone:
		return syscall.ECONNREFUSED
	case <-fires:
	case <-kick:
	}
	return os.ErrDeadlineExceeded
}

// queued is called after a connection has been put into a listener's backlog: a listener that was
// closed at the same moment may have missed it.
func (s *memorySocket) queued() {
	select {
	case <-s.gone:
		s.refuse()
	default:
	}
}

// refuse ends the connections in the backlog of a closed listener: nobody will accept them.
func (s *memorySocket) refuse() {
	for {
		select {
		case c := <-s.queue:
			c.in.end(syscall.ECONNRESET)
			c.out.end(syscall.ECONNRESET)
		default:
			return
		}
	}
}

func (s *memorySocket) close() error {
	if s.queue != nil {
		s.world.mu.Lock()
		delete(s.world.listeners, s.local)
		s.world.mu.Unlock()
		close(s.gone)
		s.refuse()
	}
	if s.in != nil {
		var reason error
		if s.in.pending() > 0 { // as TCP does when bytes are thrown away
			reason = syscall.ECONNRESET
		}
		s.out.end(reason)
		s.in.close()
	}
	return nil
}

// A memoryPipe is one direction of a connection.
type memoryPipe struct {
	mu     sync.Mutex
	buf    []byte
	ended  bool  // no more bytes will come
	reason error // why, other than in good order
	closed bool  // nobody reads
	change chan struct{}
}

func newMemoryPipe() *memoryPipe { return &memoryPipe{change: make(chan struct{})} }

// changed wakes whoever waits; p.mu is held.
func (p *memoryPipe) changed() {
	close(p.change)
	p.change = make(chan struct{})
}

func (p *memoryPipe) pending() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.buf)
}

func (p *memoryPipe) end(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if reason != nil {
		p.reason, p.buf = reason, nil
	}
	p.changed()
}

func (p *memoryPipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.buf = true, nil
	p.changed()
}

// until repeats try, with p.mu held, until it is done, time is over or the socket is interrupted.
func (p *memoryPipe) until(s *memorySocket, tmo time.Duration, try func() bool) error {
	kick := s.interrupted()
	fires, stop := patience.Expiry(tmo)
	defer stop()
	for {
		p.mu.Lock()
		done, change := try(), p.change
		p.mu.Unlock()
		if done {
			return nil
		}
		if tmo == 0 {
			return os.ErrDeadlineExceeded
		}
		select {
		case <-change:
		case <-fires:
			return os.ErrDeadlineExceeded
		case <-kick:
			return os.ErrDeadlineExceeded
		}
	}
}

func (p *memoryPipe) read(s *memorySocket, b []byte, tmo time.Duration) (n int, err error) {
	wait := p.until(s, tmo, func() bool {
		switch {
		case p.reason != nil:
			err = p.reason
		case len(p.buf) > 0:
			n = copy(b, p.buf)
			p.buf = p.buf[:copy(p.buf, p.buf[n:])]
			p.changed()
		default:
			return p.ended
		}
		return true
	})
	return n, errors.Join(err, wait)
}

func (p *memoryPipe) write(s *memorySocket, b []byte, tmo time.Duration) (n int, err error) {
	wait := p.until(s, tmo, func() bool {
		switch {
		case p.reason != nil:
			err = p.reason
		case p.closed || p.ended:
			err = syscall.EPIPE
		case len(p.buf) < memoryWindow:
			n = min(len(b), memoryWindow-len(p.buf))
			p.buf = append(p.buf, b[:n]...)
			p.changed()
		default:
			return false
		}
		return true
	})
	return n, errors.Join(err, wait)
}
