package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/internal/await"
)

// Net is a listener and dialer pair in the manner of package net. Dial's context carries the
// deadline of the connection attempt and is cancelled when the attempt is.
//
// The connections must do what net.Conn promises. A deadline that is set while a call waits ends
// that call. A Read or Write that fails returns the number of bytes that the other end has sent, or
// will receive: a conn that frames or encrypts what it is given must not count part of a frame, and
// goes on behind it with the next Write, unless it fails from then on. What a Read that times out
// has taken must not be lost, and the next Read goes on: so a decoder that keeps its first error,
// as those of compress/flate do, must not read from the conn itself. A time-out is an error that
// wraps os.ErrDeadlineExceeded, or, at a deadline, any net.Error whose Timeout is true, as of many
// multiplexers, except for ETIMEDOUT. LocalAddr and RemoteAddr must tell connections apart (those
// of net.Pipe do not). CloseWrite is used if the conn has one.
type Net struct {
	Listen func(addr Addr) (net.Listener, error)                  // nil: this transport does not listen
	Dial   func(ctx context.Context, addr Addr) (net.Conn, error) // nil: it does not connect
	// HeaderSize is the size in bytes of the length before a packet of the distribution handshake:
	// 2, or 4 for TLS. 0 means 2.
	HeaderSize int
}

// FromNet makes a Transport of a listener and dialer pair. Its sockets have no descriptor, so they
// cannot be handed off. A write whose ctx ends half-way ends a connection of package tls, as its
// own deadline does, and so does a ctx that ends during its handshake, and CloseWrite beside a
// write, which gives ErrPoisoned then; see package tlstransport for one that lives on. Errors go
// through PosixError.
func FromNet(n Net) Transport { return fromNet("net", n) }

// fromNet is FromNet with a name.
func fromNet(name string, n Net) Transport {
	size := n.HeaderSize
	if size == 0 {
		size = 2
	}
	return &plugin[*netSocket]{cb: &Callbacks[*netSocket]{
		Name:   name,
		Flags:  FullImpl,
		Socket: func(any, Addr) (*netSocket, error) { return &netSocket{}, nil },
		Close:  (*netSocket).close,
		Listen: func(s *netSocket, addr Addr, _ int) (Addr, error) {
			if n.Listen == nil {
				return nil, fmt.Errorf("no Listen was given: %w", errors.ErrUnsupported)
			}
			l, err := n.Listen(addr)
			if l == nil && err == nil {
				err = gaveNothing("Listen")
			}
			if err != nil {
				return nil, PosixError(err)
			}
			s.l = l
			if _, ok := l.(deadliner); !ok {
				s.pass = newPassage(l)
			}
			return FromNetAddr(l.Addr()), nil
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
		CloseWrite:                (*netSocket).closeWrite,
		LocalAddr: func(s *netSocket) (Addr, error) {
			if s.c == nil {
				return nil, syscall.ENOTCONN
			}
			return FromNetAddr(s.c.LocalAddr()), nil
		},
		Interrupt:    func(s *netSocket) { s.interrupt(false); s.interrupt(true) },
		InterruptOne: (*netSocket).interrupt,
		Abort:        (*netSocket).abort,
	}}
}

// A deadliner is a listener whose Accept can be ended.
type deadliner interface{ SetDeadline(time.Time) error }

// A netSocket is the socket context of FromNet: a listener or a connection.
type netSocket struct {
	l    net.Listener
	pass *passage // of a listener that is no deadliner
	c    net.Conn

	in, out netDeadline // in is also that of accepts
	writing atomic.Bool
	halved  atomic.Bool // CloseWrite has been called

	mu     sync.Mutex
	cancel context.CancelFunc // of the dial in flight
}

// A netDeadline is the deadline of a direction. Its lock is held while the deadline is set: a late
// interrupt must not end the next call without cut saying so.
type netDeadline struct {
	sync.Mutex
	until time.Time
	cut   bool // the call in flight has been interrupted
	cutAt time.Time
}

// move sets the deadline by means of set, and notes whether it is an interrupt that does so.
func (d *netDeadline) move(set func(time.Time) error, t time.Time, cut bool) error {
	d.Lock()
	defer d.Unlock()
	if cut && !d.cut {
		d.cutAt = time.Now()
	}
	d.until, d.cut = t, cut
	return set(t)
}

func (d *netDeadline) wasCut() bool {
	d.Lock()
	defer d.Unlock()
	return d.cut
}

// cutFor tells whether the call was interrupted so long ago.
func (d *netDeadline) cutFor(long time.Duration) bool {
	d.Lock()
	defer d.Unlock()
	return d.cut && time.Since(d.cutAt) >= long
}

// reached reports whether a call that fails now may do so for the deadline.
func (d *netDeadline) reached() bool {
	d.Lock()
	defer d.Unlock()
	return !d.until.IsZero() && time.Until(d.until) < enoughTime
}

// fault is the error of a call as the contract has it. What says Timeout without a deadline is the
// end of a connection, of a peer that has been silent say.
func (d *netDeadline) fault(err error) error {
	err = PosixError(err)
	var e net.Error
	if err == nil || isOverdue(err) || errors.Is(err, syscall.ETIMEDOUT) || !errors.As(err, &e) || !e.Timeout() || !d.reached() {
		return err
	}
	return fmt.Errorf("%w: %w", os.ErrDeadlineExceeded, err)
}

func (s *netSocket) close() error {
	switch {
	case s.pass != nil:
		return s.pass.close()
	case s.l != nil:
		return s.l.Close()
	case s.c != nil:
		// A tls.Conn takes up to five seconds for a last message that there is no room for.
		t := time.AfterFunc(netCloseTime, func() { _ = s.c.SetWriteDeadline(await.Past) })
		err := s.c.Close()
		if !t.Stop() && errors.Is(err, os.ErrDeadlineExceeded) || peerGone(err) {
			return nil // it is closed
		}
		return err
	}
	return nil
}

// abort closes with a reset, where the conn is one of TCP, or over one.
func (s *netSocket) abort() error {
	conn := s.c
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok { // package tls
		conn = over.NetConn()
	}
	c, ok := conn.(interface{ SetLinger(seconds int) error })
	reset := ok && c.SetLinger(0) == nil
	err := s.close()
	if err == nil && !reset {
		return errors.ErrUnsupported
	}
	return err
}

// peerGone tells whether what a tls.Conn says last found no peer any more.
func peerGone(err error) bool {
	err = PosixError(err)
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// netCloseTime is how long the Close of a net.Conn may write.
const netCloseTime = 200 * time.Millisecond

// closeWrite ends the sending direction. A tls.Conn first waits for the Write in flight, and that
// perhaps for the peer: it is cut off after a moment, and the tls.Conn with it, for part of a
// record is out.
func (s *netSocket) closeWrite() error {
	c, ok := s.c.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	returned := make(chan struct{})
	defer close(returned)
	var cut atomic.Bool
	defer time.AfterFunc(netCloseTime, func() { s.cutWrite(&cut, returned) }).Stop()
	err := c.CloseWrite()
	switch {
	case cut.Load():
		return fmt.Errorf("the Write for which it waited was cut off: %w", ErrPoisoned)
	case err != nil:
		return PosixError(err)
	}
	s.halved.Store(true)
	if s.writing.Load() { // Windows goes on with a send that it has begun
		_ = s.writeUntil(await.Past, true)
	}
	return nil
}

// cutWrite ends the Write in flight, and then whatever CloseWrite still writes, until CloseWrite
// has returned: both set deadlines of their own. cut says whether there was a Write.
func (s *netSocket) cutWrite(cut *atomic.Bool, returned <-chan struct{}) {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		if cut.Load() || s.writing.Load() {
			cut.Store(true)
			_ = s.writeUntil(await.Past, true)
		}
		select {
		case <-returned:
			return
		case <-again.C:
		}
	}
}

func deadline(tmo time.Duration) time.Time {
	if tmo == Infinite {
		return time.Time{}
	}
	return time.Now().Add(tmo)
}

func (s *netSocket) accept(tmo time.Duration) (*netSocket, Addr, error) {
	accept := s.l.Accept
	if l, ok := s.l.(deadliner); !ok {
		accept = func() (net.Conn, error) { return s.pass.accept(tmo) }
	} else if err := s.in.move(l.SetDeadline, tries(tmo), false); err != nil {
		return nil, nil, err
	}
	c, err := accept()
	if c == nil && err == nil {
		err = gaveNothing("Accept")
	}
	if err != nil {
		return nil, nil, s.in.fault(err)
	}
	return &netSocket{c: c}, FromNetAddr(c.RemoteAddr()), nil
}

func gaveNothing(what string) error {
	return &CallbackError{what, fmt.Errorf("%w: neither a result nor an error", ErrContract)}
}

func (s *netSocket) dial(dial func(context.Context, Addr) (net.Conn, error), addr Addr, tmo time.Duration) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if until := tries(tmo); !until.IsZero() {
		var over context.CancelFunc
		ctx, over = context.WithDeadline(ctx, until)
		defer over()
	}
	s.mu.Lock()
	s.cancel = cancel
	s.mu.Unlock()
	c, err := dial(ctx, addr)
	if c == nil && err == nil {
		err = gaveNothing("Dial")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = nil
	if err != nil {
		if ctx.Err() != nil {
			return os.ErrDeadlineExceeded
		}
		return PosixError(err)
	}
	s.c = c // interrupt looks at it
	return nil
}

func (s *netSocket) read(p []byte, tmo time.Duration) (int, error) {
	// Once either end of a net.Pipe is closed, no deadline can be set; Read then tells which end it
	// is, and does not wait.
	if err := s.in.move(s.c.SetReadDeadline, tries(tmo), false); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return 0, err
	}
	for range emptyReads {
		if n, err := s.c.Read(p); n != 0 || err != nil || len(p) == 0 {
			return n, s.in.fault(endOfStream(err))
		}
	}
	return 0, io.ErrNoProgress
}

// emptyReads is how many Reads in a row may give neither bytes nor an error, which is no end: see
// io.Reader. bufio allows as many.
const emptyReads = 100

func (s *netSocket) write(p []byte, tmo time.Duration) (int, error) {
	s.writing.Store(true)
	defer s.writing.Store(false)
	until := tries(tmo)
	if err := s.writeUntil(until, false); err != nil {
		return 0, err
	}
	n, err := s.c.Write(p)
	err = s.out.fault(err)
	if s.halved.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		return n, syscall.EPIPE
	}
	early := tmo > 0 && !s.out.wasCut() && (until.IsZero() || time.Now().Before(until))
	if n == 0 && early && errors.Is(err, os.ErrDeadlineExceeded) {
		// as those of package tls after a time-out
		err = fmt.Errorf("%w: its net.Conn does not write again: %v", ErrPoisoned, err)
	}
	return n, err
}

func (s *netSocket) writeUntil(t time.Time, cut bool) error {
	return s.out.move(s.c.SetWriteDeadline, t, cut)
}

// tries is the deadline for tmo; package net does not look at a socket at all once a deadline has
// passed, so one try gets an instant.
func tries(tmo time.Duration) time.Time {
	if tmo == 0 {
		tmo = time.Millisecond
	}
	return deadline(tmo)
}

// interrupt ends the call in flight of one direction by a deadline in the past; the next call sets
// its own. The other direction is left alone, as long as that suffices: a tls.Conn does not live on
// after a Write that was cut off.
func (s *netSocket) interrupt(writing bool) {
	s.mu.Lock()
	if s.cancel != nil && writing {
		s.cancel()
	}
	c := s.c
	s.mu.Unlock()
	switch {
	case c != nil && writing:
		if s.writing.Load() && s.out.cutFor(netCloseTime) { // stuck in the handshake of a tls.Conn, which reads
			_ = s.in.move(c.SetReadDeadline, await.Past, true)
		}
		_ = s.writeUntil(await.Past, true)
	case c != nil:
		_ = s.in.move(c.SetReadDeadline, await.Past, true)
	case s.pass != nil:
		s.pass.interrupt()
	case s.l != nil:
		_ = s.in.move(s.l.(deadliner).SetDeadline, await.Past, true)
	}
}
