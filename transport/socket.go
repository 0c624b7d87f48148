package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// unresponsiveAfter is how long a callback may take to come back once it has been ended.
const unresponsiveAfter = time.Second

// A socket is the SDK's side of one plug-in socket: it owns C, does the waiting, and closes C once.
// Its methods read, write and accept are each used by one caller at a time (Stream and Listener see
// to that), possibly concurrently with each other.
type socket[C any] struct {
	cb   *Callbacks[C]
	c    C
	full bool
	// prompt says that every callback always comes back, as those of this package's own plug-ins
	// over system calls do. They are called directly, without a goroutine that could be left
	// behind.
	prompt bool
	// the descriptor came from elsewhere, to Import: another process may share the open file, and
	// so O_NONBLOCK
	given  bool
	fd     int           // the plug-in's descriptor, -1: none
	policy *await.Policy // shared with the Transport's other sockets
	pair   *await.Pair   // without FullImpl: how the SDK waits; nil before ready

	in    side         // FullImpl: the goroutine that runs Read, Accept
	out   side         // FullImpl: the one that runs Write, Writev, Connect
	asked atomic.Int64 // calls of Interrupt

	closeOnce sync.Once
	closing   chan struct{} // closed when Close begins
	entering  sync.Mutex    // held while closing is closed, and by enter
	inside    sync.WaitGroup
	// held by Export, which runs alone, and for reading by the callbacks that run beside others
	alone    sync.RWMutex
	calls    calls // for Close's error message; unused if prompt
	closeErr error
	failure  atomic.Pointer[error] // a fault of the plug-in: every later call gets it
	halved   atomic.Bool           // CloseWrite has succeeded

	// Arguments and results of the calls in flight, so that the closures below are made once.
	rd struct {
		p    []byte
		n    int
		err  error
		late error // came together with bytes: for the next call
	}
	wr struct {
		v    [][]byte
		n    int64
		err  error
		late error
	}
	acc struct {
		c    C
		addr Addr
		err  error
	}
	tryRead   func() (n int, done bool)
	tryWrite  func() (done bool)
	tryAccept func(uintptr) (done bool) // made by the first accept
}

func newSocket[C any](cb *Callbacks[C], prompt bool, p *await.Policy) *socket[C] {
	s := &socket[C]{cb: cb, policy: p, full: cb.Flags&FullImpl != 0, prompt: prompt, fd: -1, closing: make(chan struct{})}
	s.tryRead, s.tryWrite = s.readOnce, s.writeOnce
	return s
}

func (s *socket[C]) takesItsTime() bool { return s.full && !s.isDirect() }

// own asks for the plug-in's descriptor and, without FullImpl, makes it non-blocking, for then the
// SDK waits on it.
func (s *socket[C]) own() error {
	fd, err := s.getFD()
	if err != nil {
		return err
	}
	s.fd = fd
	if s.full {
		return nil
	}
	return sys.SetNonblock(fd, s.prompt && !s.given)
}

// ready makes a connected or listening socket usable; polls says that its reader may poll.
func (s *socket[C]) ready(polls bool) error {
	if s.fd < 0 || s.full {
		if err := s.own(); err != nil {
			return err
		}
	} else if err := s.sameFD(); err != nil {
		return err
	}
	if s.full || s.pair != nil {
		return nil
	}
	var err error
	s.pair, err = await.New(s.fd, s.policy, polls, s.prompt)
	if not := new(await.NotWaitableError); errors.As(err, &not) {
		return contractError("GetFD", "%v", not)
	}
	return err
}

// getFD asks the plug-in for its descriptor.
func (s *socket[C]) getFD() (int, error) {
	fd := -1
	err := s.guard("GetFD", func() (err error) { fd, err = s.cb.GetFD(s.c); return err })
	switch {
	case s.full && fd == -1 && errors.Is(err, errors.ErrUnsupported):
		return -1, nil
	case fd == -1 && errors.Is(err, errors.ErrUnsupported):
		return -1, &CallbackError{"GetFD", fmt.Errorf("%w: only a plug-in with FullImpl can do without a descriptor: %w", ErrContract, err)}
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
func (s *socket[C]) sameFD() error {
	fd, err := s.getFD()
	if err == nil && fd != s.fd {
		err = contractError("GetFD", "the descriptor changed from %d to %d", s.fd, fd)
	}
	if err != nil {
		s.fail(err)
	}
	return err
}

func (s *socket[C]) descriptor() (int, error) {
	if err := s.usable(); err != nil {
		return -1, err
	}
	if err := s.beside("GetFD", s.sameFD); err != nil {
		return -1, err
	}
	if s.fd < 0 {
		return -1, errors.ErrUnsupported
	}
	return s.fd, nil
}

func (s *socket[C]) syscallConn() (syscall.RawConn, error) {
	if s.pair != nil {
		return streamConn[C]{rawConn{s, s.pair.RawConn()}, s}, nil
	}
	fd, err := s.descriptor()
	if err != nil {
		return nil, err
	}
	return controlled{func(f func(fd uintptr)) error {
		if err := s.enter(); err != nil {
			return err
		}
		defer s.inside.Done()
		f(uintptr(fd))
		return nil
	}}, nil
}

// fail makes err the answer to every later call.
func (s *socket[C]) fail(err error) { s.failure.CompareAndSwap(nil, &err) }

// usable is nil while the socket is neither closed nor broken.
func (s *socket[C]) usable() error {
	if f := s.failure.Load(); f != nil {
		return *f
	}
	select {
	case <-s.closing:
		return net.ErrClosed
	default:
		return nil
	}
}

// caught turns a panic of a callback into an error; it is deferred around every call into the
// plug-in. *err is errExited before the call, and stays so if the call ends its goroutine: later
// calls get an error then.
func (s *socket[C]) caught(callback string, err *error) {
	if r := recover(); r != nil {
		*err = &CallbackError{callback, fmt.Errorf("%w: %v", ErrPanic, r)}
		s.fail(*err)
	} else if *err == errExited {
		*err = s.exited(callback, errExited)
	}
}

// guard makes a call that does not wait, and repeats it after EINTR.
func (s *socket[C]) guard(callback string, f func() error) error {
	for range maxRepeats {
		if err := s.single(callback, f); !interrupted(err) {
			return err
		}
	}
	return s.endless(callback)
}

// maxRepeats is how many times a callback is called in a row that returns EINTR each time.
const maxRepeats = 100

// endless makes a socket dead whose callback returns nothing but EINTR.
func (s *socket[C]) endless(callback string) error {
	err := contractError(callback, "%v again and again", syscall.EINTR)
	s.fail(err)
	return err
}

// single makes a call that must be made once only, whatever comes of it.
func (s *socket[C]) single(callback string, f func() error) (err error) {
	defer s.caught(callback, &err)
	err = errExited
	return f()
}

// enter makes Close wait until inside.Done is called; it fails if the socket is no longer usable.
func (s *socket[C]) enter() error {
	s.entering.Lock()
	defer s.entering.Unlock()
	err := s.usable()
	if err == nil {
		s.inside.Add(1)
	}
	return err
}

// beside is guard on an open socket, for calls that run concurrently with those in flight. Close
// waits for it.
func (s *socket[C]) beside(callback string, f func() error) error {
	s.alone.RLock()
	defer s.alone.RUnlock()
	return s.during(callback, func() error { return s.guard(callback, f) })
}

// during makes a call of a callback of an open socket. Close waits for it.
func (s *socket[C]) during(callback string, call func() error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.inside.Done()
	if !s.prompt {
		s.calls.begin(callback)
		defer s.calls.end(callback)
	}
	return call()
}

// within makes, once, a call that might wait for something (a hook, say). It leaves the call behind
// if that does not come back within a second of the end of ctx, or of Close.
func (s *socket[C]) within(ctx context.Context, callback string, f func() error) error {
	call := func() error {
		s.alone.RLock()
		defer s.alone.RUnlock()
		return s.during(callback, func() error { return s.single(callback, f) })
	}
	if s.prompt {
		return call()
	}
	if err := s.usable(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		err := errExited
		defer func() { done <- err }()
		err = call()
	}()
	// under NoWait the time of the call is over at once, and the callback has only its second
	if !IsNoWait(ctx) {
		select {
		case err := <-done:
			return s.exited(callback, err)
		case <-ctx.Done():
		case <-s.closing:
		}
	}
	t := time.NewTimer(unresponsiveAfter)
	defer t.Stop()
	select {
	case err := <-done:
		return s.exited(callback, err)
	case <-t.C:
		return s.unresponsive(callback)
	}
}

// errExited stands for the result of a call that has ended its goroutine.
var errExited = errors.New("it has ended its goroutine: runtime.Goexit, or FailNow of a test")

// exited turns errExited into the error of a panic.
func (s *socket[C]) exited(callback string, err error) error {
	if err == errExited {
		err = &CallbackError{callback, fmt.Errorf("%w: %w", ErrPanic, err)}
		s.fail(err)
	}
	return err
}

func (s *socket[C]) unresponsive(callback string) error {
	err := &CallbackError{callback, ErrUnresponsive}
	_, ofNet := any(s.c).(*netSocket)
	switch waits := callback == "Write" || callback == "Writev" || callback == "Connect"; {
	case ofNet && callback == "Connect":
		err.Err = fmt.Errorf("%w: Net.Dial has to end with its context", ErrUnresponsive)
	case ofNet && (waits || callback == "Read"):
		err.Err = fmt.Errorf("%w: a deadline of the net.Conn has to end it, also one that is set while it waits", ErrUnresponsive)
	case s.full && s.cb.Interrupt == nil && s.fd < 0 && waits:
		err.Err = fmt.Errorf("%w: a carrier without a descriptor needs Interrupt", ErrUnresponsive)
	}
	s.fail(err)
	return err
}

func (s *socket[C]) headerSize(ctx context.Context) (int, error) {
	var size atomic.Int64 // a callback that is left behind may still write it
	err := s.within(ctx, "HandshakePacketHeaderSize", func() error {
		n, err := s.cb.HandshakePacketHeaderSize(s.c)
		size.Store(int64(n))
		return err
	})
	n := int(size.Load())
	if err == nil && n != 2 && n != 4 {
		err = contractError("HandshakePacketHeaderSize", "%d is neither 2 nor 4", n)
	}
	return n, err
}

func (s *socket[C]) complete(ctx context.Context, initiated bool) error {
	name, hook := "AcceptHandshakeComplete", s.cb.AcceptHandshakeComplete
	if initiated {
		name, hook = "ConnectHandshakeComplete", s.cb.ConnectHandshakeComplete
	}
	if err := s.beside("GetFD", s.sameFD); err != nil {
		return err
	}
	if hook == nil {
		return nil
	}
	return s.within(ctx, name, func() error { return hook(s.c) })
}

func (s *socket[C]) checkPeer(ctx context.Context, name string) error {
	if s.cb.CheckPeer == nil {
		return nil
	}
	return s.within(ctx, "CheckPeer", func() error { return s.cb.CheckPeer(s.c, name) })
}

func (s *socket[C]) localAddr() Addr {
	var a Addr
	if s.cb.LocalAddr != nil {
		if err := s.beside("LocalAddr", func() (err error) { a, err = s.cb.LocalAddr(s.c); return err }); err != nil {
			return nil
		}
	}
	return a
}

func (s *socket[C]) closeWrite() error {
	if s.cb.CloseWrite == nil {
		return fmt.Errorf("the plug-in has no CloseWrite: %w", errors.ErrUnsupported)
	}
	if err := s.beside("CloseWrite", func() error { return s.cb.CloseWrite(s.c) }); err != nil {
		return err
	}
	s.halved.Store(true)
	if s.pair != nil { // the kernel wakes nobody who waits for room in a UNIX socket
		s.pair.Halt(true)
	}
	return nil
}

func (s *socket[C]) pending() (int, error) {
	n := 0
	if s.cb.Pending != nil {
		err := s.beside("Pending", func() (err error) { n, err = s.cb.Pending(s.c); return err })
		if err != nil {
			return 0, err
		}
		if n < 0 {
			return 0, contractError("Pending", "%d bytes", n)
		}
	}
	// the descriptor of a FullImpl carrier may hold other bytes than its stream's
	if s.pair == nil {
		return n, nil
	}
	k, err := s.pair.Pending()
	if err != nil {
		err = reason(s, err)
	}
	return n + k, err
}

// connectionError asks the system, for the sockets that the SDK waits on.
func (s *socket[C]) connectionError() (err error) {
	if s.pair != nil {
		_ = s.pair.RawConn().Control(func(fd uintptr) { err = sys.SocketError(int(fd)) })
	}
	return err
}

func (s *socket[C]) export() (state []byte, err error) {
	if s.cb.Import == nil {
		return nil, fmt.Errorf("the plug-in has no Import: %w", errors.ErrUnsupported)
	}
	if s.cb.Export == nil {
		return nil, nil
	}
	s.alone.Lock() // an Interrupt may still be about to return, and CloseWrite claims no direction
	defer s.alone.Unlock()
	err = s.during("Export", func() error {
		return s.guard("Export", func() (err error) { state, err = s.cb.Export(s.c); return err })
	})
	return state, err
}

// lasting returns the error that came together with bytes if the next call must return it: not for
// a time-out or an interruption.
func (s *socket[C]) lasting(d *side, err error) error {
	if err == nil || interrupted(err) || timedOut(err, s.full && d.passed) {
		return nil
	}
	return err
}
