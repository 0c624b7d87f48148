package cnodews

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"github.com/cnode-go/cnode/transport"
)

const (
	// window is how many bytes wait in each direction before those who bring more have to wait.
	window = 128 << 10
	// endSize is what the end of a packet counts there: there may be many empty ones.
	endSize = 8
	// piece is how many bytes are read at once.
	piece = 32 << 10
	// keptRoom is the size in bytes up to which a buffer is used again.
	keptRoom = 2 * window
	// farewell is how long a connection that is closed goes on sending, and waits for the other end to
	// have closed it, too.
	farewell = 5 * time.Second
	// goodbye is how long Close itself waits for what is left to be in the system's hands, and how
	// long a peer that has been refused has for its part of the end.
	goodbye = 200 * time.Millisecond
)

// A socket is the socket context: a connection, or a listener. A deadline that ends a read or a
// write of a websocket.Conn ends the connection; so a goroutine reads all the time, and another one
// writes while there is something to write.
type socket struct {
	ws            *websocket.Conn
	below         net.Conn        // what carries ws; nil: not known
	ctx           context.Context // of reads and writes below, whose end is that of the connection
	cancel        context.CancelFunc
	packets       bool
	limit         int64 // bytes of a message
	local, remote transport.Addr
	request       *http.Request // that a connection was accepted from

	listener *listener
	unlisten func()

	among   *strangers // nil unless it was accepted
	strange bool       // it is one of them; for strangers alone

	mu     sync.Mutex
	closed bool          // by this end: what comes is thrown away
	parted chan struct{} // not nil: the other end is being told that it has sent too much; closed then
	in     struct {
		buf  *bytes.Buffer // nil: nothing is there
		took int64         // bytes that have been read from it
		ends []int64       // of packets in buf, in bytes since the connection began
		err  error         // what comes after buf
		came chan struct{} // holds a token when something has come
		room chan struct{} // or has been taken
		kick chan struct{} // or the read in flight is to end
	}
	out struct {
		queue []*bytes.Buffer // messages
		bytes int             // of those, and of the one that is being written
		busy  bool            // there is a goroutine that writes
		ended bool            // by CloseWrite
		err   error
		room  chan struct{} // holds a token when something has been written
		kick  chan struct{} // or the write in flight is to end
		idle  chan struct{} // or nothing is left to write
	}
}

func newSocket(ctx context.Context) *socket {
	s := new(socket)
	s.ctx, s.cancel = context.WithCancel(ctx)
	for _, c := range []*chan struct{}{&s.in.came, &s.in.room, &s.in.kick, &s.out.room, &s.out.kick, &s.out.idle} {
		*c = make(chan struct{}, 1)
	}
	return s
}

// signal leaves a token.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// expiry is a channel that becomes ready when tmo is over; nil: never.
func expiry(tmo time.Duration) (over <-chan time.Time, stop func()) {
	if tmo == transport.Infinite {
		return nil, func() {}
	}
	t := time.NewTimer(tmo)
	return t.C, func() { t.Stop() }
}

// until repeats try, with s.mu held, until it is done, time is over, or the call is interrupted.
// change gets a token when try may succeed.
func (s *socket) until(tmo time.Duration, change, kick chan struct{}, try func() bool) error {
	select { // an interrupt that came before does not count
	case <-kick:
	default:
	}
	var over <-chan time.Time
	for {
		s.mu.Lock()
		done := try()
		s.mu.Unlock()
		if done {
			return nil
		}
		if tmo == 0 {
			return os.ErrDeadlineExceeded
		}
		if over == nil && tmo != transport.Infinite {
			var stop func()
			over, stop = expiry(tmo)
			defer stop()
		}
		select {
		case <-change:
		case <-over:
			return os.ErrDeadlineExceeded
		case <-kick:
			return os.ErrDeadlineExceeded
		}
	}
}

func (s *socket) interrupt() {
	signal(s.in.kick)
	signal(s.out.kick)
}

// buffers are those of connections over which something goes now: an idle one has none.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= keptRoom {
		b.Reset()
		buffers.Put(b)
	}
}

func (s *socket) read(p []byte, tmo time.Duration) (n int, err error) {
	in := &s.in
	wait := s.until(tmo, in.came, in.kick, func() bool {
		switch {
		case len(in.ends) > 0:
			n = s.take(p[:min(int64(len(p)), in.ends[0]-in.took)])
			if in.ends[0] == in.took {
				in.ends, err = in.ends[1:], transport.ErrEndOfPacket
			}
		case in.buf != nil:
			n = s.take(p)
		case in.err == io.EOF:
			return true
		case in.err != nil:
			err = in.err
			return true
		default:
			return false
		}
		signal(in.room)
		if s.isReadToEnd() {
			signal(s.out.room)
		}
		return true
	})
	if wait != nil {
		err = wait
	}
	return n, err
}

// isReadToEnd reports whether all has been read that will ever come, or nobody reads; s.mu is held.
func (s *socket) isReadToEnd() bool {
	return s.closed || s.in.err != nil && s.arrived() == 0 && len(s.in.ends) == 0
}

// take reads what has come; s.mu is held.
func (s *socket) take(p []byte) (n int) {
	in := &s.in
	if in.buf == nil { // the packet is empty
		return 0
	}
	n, _ = in.buf.Read(p)
	if in.took += int64(n); in.buf.Len() == 0 {
		putBuffer(in.buf)
		in.buf = nil
	}
	return n
}

// arrived is how many bytes wait to be read; s.mu is held.
func (s *socket) arrived() int {
	if s.in.buf == nil {
		return 0
	}
	return s.in.buf.Len()
}

func (s *socket) pending() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arrived(), nil
}

// pieces are buffers to read into, while a message comes.
var pieces = sync.Pool{New: func() any { b := make([]byte, piece); return &b }}

// receive reads until the connection ends.
func (s *socket) receive() {
	for {
		kind, r, err := s.ws.Reader(s.ctx)
		if err == nil && kind != websocket.MessageBinary {
			err = fmt.Errorf("a message of text: %w", syscall.EPROTO)
		}
		if err == nil {
			err = s.receiveMessage(r)
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// receiveMessage reads one message.
func (s *socket) receiveMessage(r io.Reader) error {
	buf := pieces.Get().(*[]byte)
	defer pieces.Put(buf)
	size := int64(0)
	for {
		n, err := 0, error(nil)
		for n < piece && err == nil {
			var k int
			k, err = r.Read((*buf)[n:])
			n += k
		}
		if size += int64(n); size > s.limit {
			if err := s.tooLong(); err != nil {
				return err
			}
		}
		over := err == io.EOF
		if n > 0 || over {
			s.put((*buf)[:n], over, size == 0)
		}
		switch {
		case over:
			return nil
		case err != nil:
			return err
		}
	}
}

// tooLong ends the connection because of a message that is too long, tells the other end so, and
// returns why; nil: this end has closed it already, and goes on reading. What else comes is read,
// and thrown away: with unread bytes the system would end the connection by a reset, which may
// overtake the words.
func (s *socket) tooLong() error {
	why := fmt.Errorf("a message of more than %d bytes (Options.MaxFrame): %w", s.limit, syscall.EMSGSIZE)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if s.in.err != nil {
		return why
	}
	s.in.err, s.parted = why, make(chan struct{})
	if s.out.err == nil {
		s.out.err = syscall.EPIPE
	}
	go func() {
		defer close(s.parted)
		defer s.among.lose(s)
		defer s.cancel()
		wait := farewell
		if s.among.leave(s) {
			wait = goodbye
		}
		limit := time.AfterFunc(wait, s.cut)
		defer limit.Stop()
		_ = s.ws.Close(websocket.StatusMessageTooBig, why.Error())
	}()
	return why
}

// put adds what has come, and waits for room. last: the message is over; empty: it has no byte.
func (s *socket) put(p []byte, last, empty bool) {
	in := &s.in
	for {
		s.mu.Lock()
		if s.closed || in.err != nil { // nobody reads, or the other end has ended its direction
			s.mu.Unlock()
			return
		}
		if s.arrived()+endSize*len(in.ends) < window {
			break
		}
		s.mu.Unlock()
		<-in.room
	}
	defer s.mu.Unlock()
	if len(p) > 0 {
		if in.buf == nil {
			in.buf = buffers.Get().(*bytes.Buffer)
		}
		in.buf.Write(p)
	}
	switch {
	case last && s.packets:
		in.ends = append(in.ends, in.took+int64(s.arrived()))
	case last && empty:
		in.err = io.EOF
	}
	signal(in.came)
}

// end notes why the connection has ended.
func (s *socket) end(err error) {
	err = cause(err)
	s.mu.Lock()
	if s.in.err == nil {
		s.in.err = err
	}
	switch {
	case errors.As(err, new(websocket.CloseError)): // says more than what a write that it has cut off says
		s.out.err = err
	case s.out.err == nil:
		s.out.err = syscall.EPIPE
	}
	closed := s.closed || s.parted != nil
	s.mu.Unlock()
	for _, c := range []chan struct{}{s.in.came, s.out.room, s.out.idle} {
		signal(c)
	}
	if !closed {
		s.cancel()
		_ = s.ws.CloseNow()
	}
}

// cause is an error of the library's as the contract has it.
func cause(err error) error {
	var closed websocket.CloseError
	switch {
	case errors.As(err, &closed):
		switch closed.Code {
		case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
			return io.EOF
		case websocket.StatusMessageTooBig:
			return fmt.Errorf("the other end refuses what was sent: %w: %w", syscall.EMSGSIZE, closed)
		}
		return fmt.Errorf("the other end has closed the WebSocket: %w", closed)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	case errors.Is(err, context.DeadlineExceeded):
		// Of the library, which gives an answer to a ping some seconds. It has ended the connection, and
		// a time-out that does not wait would be this package's fault.
		return fmt.Errorf("the other end has sent a ping, and does not read the answer: %w", syscall.ETIMEDOUT)
	}
	return transport.PosixError(err)
}

// write leaves a packet, or as many bytes as there is room for, to the goroutine that writes.
func (s *socket) write(v [][]byte, tmo time.Duration) (n int64, err error) {
	out := &s.out
	wait := s.until(tmo, out.room, out.kick, func() bool {
		switch {
		case out.err != nil && !s.isReadToEnd(): // the error would end the connection, and what has come would be lost
			return false
		case out.err != nil:
			err = out.err
			return true
		case out.ended:
			err = syscall.EPIPE
			return true
		case out.bytes >= window:
			return false
		}
		if s.packets || len(out.queue) == 0 {
			out.queue = append(out.queue, buffers.Get().(*bytes.Buffer))
		}
		last := out.queue[len(out.queue)-1]
		for _, p := range v {
			if !s.packets {
				p = p[:min(len(p), window-out.bytes)]
			}
			last.Write(p)
			out.bytes, n = out.bytes+len(p), n+int64(len(p))
		}
		s.begin()
		return true
	})
	if wait != nil {
		err = wait
	}
	return n, err
}

// begin starts the goroutine that writes, unless there is one; s.mu is held.
func (s *socket) begin() {
	if !s.out.busy {
		s.out.busy = true
		go s.send()
	}
}

// send writes until nothing is left.
func (s *socket) send() {
	out := &s.out
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(out.queue) > 0 && out.err == nil {
		m := out.queue[0]
		out.queue = out.queue[1:]
		s.mu.Unlock()
		err, n := s.ws.Write(s.ctx, websocket.MessageBinary, m.Bytes()), m.Len()
		putBuffer(m)
		s.mu.Lock()
		out.bytes -= n
		if err != nil && out.err == nil {
			out.err = cause(err)
		}
		signal(out.room)
	}
	out.busy = false
	signal(out.idle)
}

// closeWrite ends the sending direction by an empty message; where messages are packets that would
// be a tick.
func (s *socket) closeWrite() error {
	if s.packets {
		return errors.ErrUnsupported
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.out.ended && s.out.err == nil {
		s.out.ended = true
		s.out.queue = append(s.out.queue, new(bytes.Buffer))
		s.begin()
	}
	signal(s.out.room)
	return nil
}

func (s *socket) close() error {
	switch {
	case s.unlisten != nil:
		s.unlisten()
	case s.ws != nil:
		s.mu.Lock()
		s.closed = true
		over, parted := s.in.err != nil && s.in.err != io.EOF, s.parted
		s.mu.Unlock()
		signal(s.in.room)
		if parted != nil {
			select {
			case <-parted:
			case <-time.After(goodbye):
			}
			return nil
		}
		if over {
			s.cancel()
			s.among.lose(s)
			return nil
		}
		sent := make(chan struct{})
		go s.leave(sent, s.among.leave(s))
		select { // the program may end as soon as this returns
		case <-sent:
		case <-time.After(goodbye):
		}
	}
	return nil
}

// drop ends a connection that nobody has accepted.
func (s *socket) drop() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	signal(s.in.room)
	s.cancel()
	_ = s.ws.CloseNow()
	s.among.lose(s)
}

// leave sends what is left, and closes the WebSocket in good order; what the other end still sends
// is read, and thrown away, so that it comes to its end.
// A stranger, who may have been refused, gets what is left, and little time for its part.
func (s *socket) leave(sent chan<- struct{}, stranger bool) {
	defer s.among.lose(s)
	defer s.cancel()
	limit := time.AfterFunc(farewell, s.cut) // in a message the library's Close would wait for as long as more comes
	defer limit.Stop()
	for {
		s.mu.Lock()
		left := s.out.busy
		s.mu.Unlock()
		if !left {
			break
		}
		<-s.out.idle
	}
	close(sent)
	if stranger {
		limit.Reset(goodbye)
	}
	_ = s.ws.Close(websocket.StatusNormalClosure, "")
}
