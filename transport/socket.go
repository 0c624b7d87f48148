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
)

// unresponsiveAfter is how long a callback may take to come back once it has been ended.
const unresponsiveAfter = time.Second

// A socket is the SDK's side of one plug-in socket: it owns C, knows who waits, and closes once. Its methods read, write and
// accept are each used by one caller at a time (Stream and Listener see to that), possibly beside each other.
type socket[C any] struct {
	cb   *Callbacks[C]
	c    C
	full bool
	// prompt says that no callback ever fails to come back: those of this package's own plug-ins over system calls. They are called
	// where they are needed, without a goroutine to leave behind.
	prompt bool
	fd     int     // the plug-in's descriptor, -1: none
	wait   watch   // without FullImpl: where the SDK waits
	poller *poller // shared with the Transport's other sockets
	spin   spin
	in     side // FullImpl: the goroutine that runs Read, Accept
	out    side // FullImpl: the one that runs Write, Writev, Connect

	closeOnce sync.Once
	closing   chan struct{} // closed when Close begins
	entering  sync.Mutex    // guards the moment of that against beside
	inside    sync.WaitGroup
	calls     calls // for the words of Close; not where callbacks are prompt
	closeErr  error
	failure   atomic.Pointer[error] // a fault of the plug-in: every later call gets it

	// Arguments and results of the calls in flight, so that the closures below are made once.
	rd struct {
		p    []byte
		n    int
		err  error
		late error // came beside bytes: for the next call
		once bool  // try, do not wait
		wait bool  // not ready
		keen bool  // may poll before it waits
	}
	wr struct {
		v     [][]byte
		n     int64
		err   error
		late  error
		once  bool
		wait  bool
		keen  bool
		began time.Time // when the wait in progress began
		room  pace
	}
	acc struct {
		c    C
		addr Addr
		err  error
		once bool
		wait bool
	}
	readReady, writeReady, acceptReady func(uintptr) bool
}

// A carrier is what a Stream needs of a socket, whatever its plug-in's C.
type carrier interface {
	read(ctx context.Context, p []byte) (int, error)      // at least one byte, or an error; io.EOF at the end
	write(ctx context.Context, v [][]byte) (int64, error) // at least one byte, or an error
	waitsItself() bool                                    // FullImpl
	pending() (int, error)                                // received bytes, not read
	closeWrite() error
	close() error
	release() error
	export() ([]byte, error)
	localAddr() Addr
	descriptor() (int, error)
	syscallConn() (syscall.RawConn, error)
	headerSize(ctx context.Context) (int, error)
	complete(ctx context.Context, initiated bool) error
	checkPeer(ctx context.Context, name string) error
	halt(writing bool) // see Stream.PauseRead
	resume(writing bool)
}

func newSocket[C any](cb *Callbacks[C], prompt bool, p *poller) *socket[C] {
	s := &socket[C]{cb: cb, poller: p, spin: newSpin(), full: cb.Flags&FullImpl != 0, prompt: prompt, fd: -1, closing: make(chan struct{})}
	s.readReady, s.writeReady, s.acceptReady = s.tryRead, s.tryWrite, s.tryAccept
	return s
}

func (s *socket[C]) waitsItself() bool { return s.full }

// own takes the plug-in's descriptor under the SDK's waiting (without FullImpl), or just learns it.
func (s *socket[C]) own() error {
	fd, err := s.getFD(s.guard)
	if err != nil {
		return err
	}
	s.fd = fd
	if s.full {
		return nil
	}
	return setNonblock(fd)
}

// ready makes a connected or listening socket usable; polls says that its reader may poll.
func (s *socket[C]) ready(polls bool) error {
	if s.fd < 0 || s.full {
		if err := s.own(); err != nil {
			return err
		}
	} else if err := s.sameFD(s.guard); err != nil {
		return err
	}
	if s.full || s.wait != nil {
		return nil
	}
	var err error
	s.wait, err = newWatch(s.fd, canPoll && polls && s.poller.limit > 0)
	return err
}

// getFD asks the plug-in by call: guard, or beside.
func (s *socket[C]) getFD(call func(callback string, f func() error) error) (int, error) {
	fd := -1
	err := call("GetFD", func() (err error) { fd, err = s.cb.GetFD(s.c); return err })
	switch {
	case s.full && fd == -1 && errors.Is(err, errors.ErrUnsupported):
		return -1, nil
	case err != nil:
		return -1, err
	case !(s.prompt && fd == s.fd) && !isDescriptor(fd):
		return -1, contractError("GetFD", "%d is not an open descriptor", fd)
	}
	return fd, nil
}

// sameFD checks that the plug-in still names the descriptor that it named first.
func (s *socket[C]) sameFD(call func(callback string, f func() error) error) error {
	fd, err := s.getFD(call)
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
	if err := s.sameFD(s.beside); err != nil {
		return -1, err
	}
	if s.fd < 0 {
		return -1, errors.ErrUnsupported
	}
	return s.fd, nil
}

func (s *socket[C]) syscallConn() (syscall.RawConn, error) {
	if s.wait == nil {
		return nil, errors.ErrUnsupported
	}
	return s.wait.rawConn(), nil
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

// caught turns a panic of a callback into an error; it is deferred around every call into the plug-in.
func (s *socket[C]) caught(callback string, err *error) {
	if r := recover(); r != nil {
		*err = &CallbackError{callback, fmt.Errorf("%w: %v", ErrPanic, r)}
		s.fail(*err)
	}
}

// guard makes a call that does not wait, again after EINTR.
func (s *socket[C]) guard(callback string, f func() error) (err error) {
	defer s.caught(callback, &err)
	for {
		if err = f(); !interrupted(err) {
			return err
		}
	}
}

// beside makes a call that does not wait, on an open socket, beside whatever else is in flight. Close waits for it.
func (s *socket[C]) beside(callback string, f func() error) error {
	s.entering.Lock()
	err := s.usable()
	if err == nil {
		s.inside.Add(1)
	}
	s.entering.Unlock()
	if err != nil {
		return err
	}
	defer s.inside.Done()
	if !s.prompt {
		s.calls.begin(callback)
		defer s.calls.end(callback)
	}
	return s.guard(callback, f)
}

// within makes a call that might wait for others (a hook, say) and leaves it behind when ctx has ended and it does not come back.
func (s *socket[C]) within(ctx context.Context, callback string, f func() error) error {
	if s.prompt {
		return s.beside(callback, f)
	}
	if err := s.usable(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- s.beside(callback, f) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	case <-s.closing:
	}
	t := time.NewTimer(unresponsiveAfter)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return s.unresponsive(callback)
	}
}

func (s *socket[C]) unresponsive(callback string) error {
	err := &CallbackError{callback, ErrUnresponsive}
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
	if err := s.sameFD(s.beside); err != nil {
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
	return s.beside("CloseWrite", func() error { return s.cb.CloseWrite(s.c) })
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
	if s.wait == nil { // the descriptor of a FullImpl carrier may hold other bytes than its stream's
		return n, nil
	}
	k, err := kernelPending(s.wait.rawConn())
	return n + k, err
}

func (s *socket[C]) export() (state []byte, err error) {
	if s.cb.Import == nil {
		return nil, fmt.Errorf("the plug-in has no Import: %w", errors.ErrUnsupported)
	}
	if s.cb.Export == nil {
		return nil, nil
	}
	err = s.beside("Export", func() (err error) { state, err = s.cb.Export(s.c); return err })
	return state, err
}

func (s *socket[C]) listen(addr Addr, backlog int) (bound Addr, err error) {
	err = s.guard("Listen", func() (err error) { bound, err = s.cb.Listen(s.c, addr, backlog); return err })
	if err != nil {
		return nil, err
	}
	if bound == nil {
		return nil, contractError("Listen", "no bound address")
	}
	return bound, s.ready(false)
}

// connect runs Connect and waits for its end.
func (s *socket[C]) connect(ctx context.Context, addr Addr) error {
	if s.full {
		if err := s.connectFull(ctx, addr); err != nil {
			return err
		}
		return s.ready(true)
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := s.guard("Connect", func() error { return s.cb.Connect(s.c, addr, 0) })
		switch {
		case err == nil || errors.Is(err, syscall.EISCONN):
			return s.ready(true)
		case errors.Is(err, syscall.EINPROGRESS) || errors.Is(err, syscall.EALREADY):
			if err := s.ready(true); err != nil {
				return err
			}
			return s.wait.connected(ctx)
		case !again(err):
			return err
		}
		// A UNIX connect on a full backlog: the poller would never wake for it.
		if isSingle(ctx) {
			return os.ErrDeadlineExceeded
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return ended(ctx)
		case <-t.C:
		}
	}
}

// read reads at least one byte into p, or fails; io.EOF is the end of the stream. The bytes count where both are given.
func (s *socket[C]) read(ctx context.Context, p []byte) (int, error) {
	r := &s.rd
	if err := s.usable(); err != nil {
		return 0, err
	}
	if err := r.late; err != nil {
		r.late = nil
		return 0, err
	}
	r.p, r.n, r.err, r.wait = p, 0, nil, false
	var err error
	if s.full {
		err = s.in.run(ctx, s, "Read", true, func(tmo time.Duration) error {
			if r.n, r.err = s.callRead(p, tmo); r.n != 0 {
				return nil // bytes count even beside a time-out
			}
			return r.err
		})
	} else {
		single := isSingle(ctx)
		r.keen = canPoll && s.poller.limit > 0 && !single
		err = s.await(ctx, s.wait.reading(), s.readReady, &r.once, &r.wait)
		if canPoll {
			s.spin.end(r.n, s.poller.limit)
		}
	}
	if lost(err) { // the callback may still use r
		return 0, err
	}
	r.p = nil
	if err != nil && r.n == 0 { // bytes that came at the last moment are not lost
		return 0, err
	}
	switch {
	case r.n < 0 || r.n > len(p):
		err := contractError("Read", "%d bytes read into a buffer of %d", r.n, len(p))
		s.fail(err)
		return 0, err
	case r.n > 0:
		r.late = lasting(r.err)
		return r.n, nil
	case s.usable() != nil: // Close ends a call by shutdown(2), which looks like the end of the stream
		return 0, s.usable()
	case r.err != nil:
		return 0, r.err
	}
	return 0, io.EOF
}

func (s *socket[C]) callRead(p []byte, tmo time.Duration) (n int, err error) {
	defer s.caught("Read", &err)
	if !s.prompt {
		s.calls.begin("Read")
		defer s.calls.end("Read")
	}
	return s.cb.Read(s.c, p, tmo)
}

// tryRead is one try under the waiter; false asks it to wait.
func (s *socket[C]) tryRead(uintptr) bool {
	r := &s.rd
	for {
		r.n, r.err = s.callRead(r.p, 0)
		if r.n != 0 || r.err == nil {
			return true
		}
		if again(r.err) {
			if r.keen && s.pollRead() {
				return true
			}
			if canPoll && !r.once && s.wait.quiet(false) {
				continue // what came before that wakes nobody
			}
			r.wait, r.err = true, nil
			return r.once
		}
		if !interrupted(r.err) {
			return true
		}
	}
}

// pollRead goes on trying for a while, where the pace of the peer promises something. The poller looks away meanwhile, so that nobody is woken beside
// this reader.
func (s *socket[C]) pollRead() bool {
	r := &s.rd
	r.keen = false
	habit := s.spin.begin()
	if !habit.due() || !s.poller.enter() {
		return false
	}
	defer s.poller.leave()
	limit := s.spin.patience(s.poller.limit)
	if habit == &s.spin.flow {
		nap(limit)
		limit = 0
	}
	came := false
	for began := time.Now(); ; rest(pollPause) {
		r.n, r.err = s.callRead(r.p, 0)
		came = r.n != 0 || !again(r.err) && !interrupted(r.err)
		if came || time.Since(began) >= limit {
			break
		}
	}
	if habit.polled(came); came {
		s.wait.quiet(true)
	}
	return came
}

// write writes at least one byte of v, whose first buffer is not empty, or fails. The bytes count where both are given.
func (s *socket[C]) write(ctx context.Context, v [][]byte) (int64, error) {
	w := &s.wr
	if err := s.usable(); err != nil {
		return 0, err
	}
	if err := w.late; err != nil {
		w.late = nil
		return 0, err
	}
	w.v, w.n, w.err, w.wait = v, 0, nil, false
	var err error
	if s.full {
		err = s.out.run(ctx, s, s.writer(v), false, func(tmo time.Duration) error {
			if w.n, w.err = s.callWrite(v, tmo); w.n != 0 {
				return nil // bytes count even beside a time-out
			}
			return w.err
		})
	} else {
		single := isSingle(ctx)
		w.keen = canPoll && s.poller.limit > 0 && !single
		err = s.await(ctx, s.wait.writing(), s.writeReady, &w.once, &w.wait)
		if !w.began.IsZero() {
			w.room.slept(time.Since(w.began) <= 4*s.poller.limit)
			w.began = time.Time{}
		}
	}
	if lost(err) {
		return 0, err
	}
	w.v = nil
	if err != nil && w.n == 0 {
		return 0, err
	}
	if w.n < 0 || w.n > length(v) || w.n == 0 && w.err == nil {
		err := contractError(s.writer(v), "%d bytes written of %d", w.n, length(v))
		s.fail(err)
		return 0, err
	}
	if w.n > 0 {
		if canPoll {
			s.spin.written(w.n)
		}
		w.late = lasting(w.err)
		return w.n, nil
	}
	return 0, w.err
}

// writer is the callback that writes v.
func (s *socket[C]) writer(v [][]byte) string {
	if s.cb.Writev != nil && len(v) > 1 {
		return "Writev"
	}
	return "Write"
}

func (s *socket[C]) callWrite(v [][]byte, tmo time.Duration) (n int64, err error) {
	name := s.writer(v)
	defer s.caught(name, &err)
	if !s.prompt {
		s.calls.begin(name)
		defer s.calls.end(name)
	}
	if name == "Writev" {
		return s.cb.Writev(s.c, v, tmo)
	}
	k, err := s.cb.Write(s.c, v[0], tmo)
	if k > len(v[0]) {
		return length(v) + 1, nil // out of range for the caller too
	}
	return int64(k), err
}

func (s *socket[C]) tryWrite(uintptr) bool {
	w := &s.wr
	for {
		w.n, w.err = s.callWrite(w.v, 0)
		if w.n != 0 || w.err == nil {
			return true
		}
		if again(w.err) {
			if w.keen && s.pollWrite() {
				return true
			}
			w.wait, w.err = true, nil
			return w.once
		}
		if !interrupted(w.err) {
			return true
		}
	}
}

// pollWrite goes on trying for a while, where room has lately come that fast.
func (s *socket[C]) pollWrite() bool {
	w := &s.wr
	w.keen, w.began = false, time.Now()
	if !w.room.due() || !s.poller.enter() {
		return false
	}
	defer s.poller.leave()
	came := false
	for !came && time.Since(w.began) < s.poller.limit {
		rest(4 * pollPause)
		w.n, w.err = s.callWrite(w.v, 0)
		came = w.n != 0 || !again(w.err) && !interrupted(w.err)
	}
	w.room.polled(came)
	return came
}

// accept takes one connection.
func (s *socket[C]) accept(ctx context.Context) (*socket[C], Addr, error) {
	if err := s.usable(); err != nil {
		return nil, nil, err
	}
	a := &s.acc
	a.err, a.wait = nil, false
	var err error
	if s.full {
		err = s.in.run(ctx, s, "Accept", true, func(tmo time.Duration) error {
			a.c, a.addr, a.err = s.callAccept(tmo)
			return a.err
		})
	} else {
		err = s.await(ctx, s.wait.reading(), s.acceptReady, &a.once, &a.wait)
	}
	if err == nil {
		err = a.err
	}
	if err != nil {
		return nil, nil, err
	}
	n := newSocket(s.cb, s.prompt, s.poller)
	n.c = a.c
	if err := n.ready(true); err != nil {
		_ = n.abandon()
		if errors.Is(err, ErrContract) {
			s.fail(err)
		}
		return nil, nil, err
	}
	return n, a.addr, nil
}

func (s *socket[C]) callAccept(tmo time.Duration) (c C, addr Addr, err error) {
	defer s.caught("Accept", &err)
	if !s.prompt {
		s.calls.begin("Accept")
		defer s.calls.end("Accept")
	}
	return s.cb.Accept(s.c, tmo)
}

func (s *socket[C]) tryAccept(uintptr) bool {
	a := &s.acc
	for {
		a.c, a.addr, a.err = s.callAccept(0)
		switch {
		case again(a.err):
			a.wait, a.err = true, nil
			return a.once
		case !interrupted(a.err):
			return true
		}
	}
}

// close ends every call in flight at once, then closes C. An unresponsive callback keeps its C open: the error says so.
func (s *socket[C]) close() error {
	return s.end("Close", s.cb.Close)
}

// release frees C with nothing said on the connection.
func (s *socket[C]) release() error {
	if s.cb.Release == nil {
		return s.end("Close", s.cb.Close)
	}
	return s.end("Release", s.cb.Release)
}

func (s *socket[C]) end(name string, last func(C) error) error {
	s.closeOnce.Do(func() {
		s.entering.Lock()
		close(s.closing)
		s.entering.Unlock()
		if s.prompt {
			s.inside.Wait()
			if s.wait != nil {
				s.wait.close()
			}
			s.closeErr = s.finish(name, last)
			return
		}
		done := make(chan error, 1)
		go func() {
			if !s.quiesce() {
				done <- &CallbackError{s.calls.names(), ErrUnresponsive}
				return
			}
			done <- s.finish(name, last)
		}()
		t := time.NewTimer(2 * unresponsiveAfter)
		defer t.Stop()
		select {
		case s.closeErr = <-done:
		case <-t.C:
			s.closeErr = s.unresponsive(name)
		}
	})
	return s.closeErr
}

// finish makes the last call on C.
func (s *socket[C]) finish(name string, last func(C) error) error {
	var changed error
	if s.failure.Load() == nil && s.fd >= 0 {
		changed = s.sameFD(s.guard)
	}
	if err := s.guard(name, func() error { return last(s.c) }); err != nil {
		return err
	}
	return changed
}

// quiesce ends all calls in flight and reports whether they have returned.
func (s *socket[C]) quiesce() bool {
	waits := []func() bool{func() bool { return inTime(s.inside.Wait) }}
	if s.wait != nil {
		waits = append(waits, func() bool { return inTime(s.wait.close) }) // waits for a running callback
	}
	if s.full {
		waits = append(waits, s.in.stop, s.out.stop)
	}
	returned := make(chan bool, len(waits))
	for _, wait := range waits {
		go func() { returned <- wait() }()
	}
	all := true
	for range waits {
		all = <-returned && all
	}
	return all
}

// inTime runs what waits for callbacks to return; false if they do not within their second.
func inTime(wait func()) bool {
	done := make(chan struct{})
	go func() { wait(); close(done) }()
	t := time.NewTimer(unresponsiveAfter)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// abandon closes a socket that never came to be used.
func (s *socket[C]) abandon() error {
	if err := s.end("Close", s.cb.Close); errors.Is(err, ErrUnresponsive) {
		return err
	}
	return nil
}

// lost tells that a callback was left behind.
func lost(err error) bool {
	e, ok := err.(*CallbackError)
	return ok && e.Err == ErrUnresponsive
}

// lasting keeps of an error that came beside bytes what the next call must hear of.
func lasting(err error) error {
	if err == nil || again(err) || interrupted(err) || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

func length(v [][]byte) int64 {
	var n int64
	for _, b := range v {
		n += int64(len(b))
	}
	return n
}
