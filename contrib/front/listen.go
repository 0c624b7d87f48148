package front

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// A listener is a *net.TCPListener or *net.UnixListener.
type listener interface {
	net.Listener
	syscall.Conn
	SetDeadline(t time.Time) error
}

// Words are what a listener was asked for with. Listeners with the same words are told apart by the
// order in which they were asked for.
type words struct{ network, address string }

// A door is a listener that is being accepted from.
type door struct {
	words
	number   uint64       // one that was asked for later has a higher one
	heritage *inheritance // what it was in the previous process; nil: nothing
	listener listener
	file     fs.FileInfo // of a workers' socket
	options  ServeOptions
	take     func(net.Conn) // what comes; the gate is held
}

func (d *door) close() { _ = d.listener.Close() }

func (d *door) keepFile(on bool) { keepFile(d.listener, on) }

// keepFile says whether the file of a UNIX socket stays when the listener is closed.
func keepFile(l net.Listener, on bool) {
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(!on)
	}
}

// An inheritance is a listener of the previous process.
type inheritance struct {
	words
	listener  listener
	beginning []*beginning // that have been accepted from it
	number    uint64       // who has asked for the listener has not served it yet; 0: nobody has asked
}

// inherit takes the first listener with these words that the previous process has handed over and
// nobody has asked for; nil: there is none.
func (k *Keeper) inherit(of words) (*inheritance, uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ids++
	for _, i := range k.inherited {
		if i.words == of && i.number == 0 {
			i.number = k.ids
			return i, k.ids
		}
	}
	return nil, k.ids
}

// Listen listens as net.Listen does, for tcp, tcp4, tcp6 and unix, or goes on with a listener of
// the previous process: the first that has listened with the same words, and that nobody has asked
// for. See Take.
func (k *Keeper) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	of := words{network, address}
	i, number := k.inherit(of)
	if i != nil {
		return &asked{i.listener, of, number, i}, nil
	}
	if network == "unix" && deserted(address, network) {
		_ = os.Remove(address)
	}
	var c net.ListenConfig
	c.SetMultipathTCP(false) // its counters are those of one path, see tcp_info
	l, err := c.Listen(ctx, network, address)
	if err != nil && network == "unix" {
		return nil, noSocket(address, err)
	} else if err != nil {
		return nil, err
	}
	serves, ok := l.(listener)
	if !ok {
		return nil, errors.Join(failed("listen", addrOf(l.Addr()), syscall.EAFNOSUPPORT), l.Close())
	}
	return &asked{serves, of, number, nil}, nil
}

// asked is a listener that remembers what was asked for.
type asked struct {
	listener
	words
	number   uint64
	heritage *inheritance
}

// Serve accepts sessions until ctx ends, l is closed, or the Keeper is: it returns ctx's error
// or net.ErrClosed. It closes l, and the sessions stay. l is of Keeper.Listen, or a
// *net.TCPListener or *net.UnixListener; EINVAL for others. Nil options are the default. A lack
// of descriptors does not end Serve: it tries again after a pause.
func (k *Keeper) Serve(ctx context.Context, l net.Listener, o *ServeOptions) error {
	d := &door{words: words{l.Addr().Network(), l.Addr().String()}}
	if a, ok := l.(*asked); ok {
		l, d.words, d.number, d.heritage = a.listener, a.words, a.number, a.heritage
	}
	switch l := l.(type) {
	case *net.TCPListener:
		d.listener = l
	case *net.UnixListener:
		d.listener = l
	default:
		return failed("serve", addrOf(l.Addr()), fmt.Errorf("a listener of type %T: %w", l, syscall.EINVAL))
	}
	if o != nil {
		d.options = *o
	}
	if d.options.Patience <= 0 {
		d.options.Patience = defaultBeginning
	}
	if d.options.Linger <= 0 {
		d.options.Linger = defaultLinger
	}
	d.take = func(c net.Conn) { k.client(d, c) }
	err := net.ErrClosed
	if !k.open(d) {
		d.close()
	} else if err = k.acceptAt(ctx, d); ctx.Err() != nil {
		err = ctx.Err()
	}
	return failed("serve", addrOf(l.Addr()), err)
}

// acceptAt accepts from a listener that open has noted, and closes it.
func (k *Keeper) acceptAt(ctx context.Context, d *door) error {
	defer d.close()
	defer func() {
		k.mu.Lock()
		delete(k.doors, d)
		k.mu.Unlock()
	}()
	defer context.AfterFunc(ctx, d.close)()
	for pause := time.Duration(0); ; {
		if !k.enter() {
			return net.ErrClosed
		}
		c, err := d.listener.Accept()
		if err == nil {
			pause = 0
			d.take(c)
		}
		k.gate.RUnlock()
		switch {
		case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, net.ErrClosed):
			return err
		default: // no descriptors, no memory, or a client that has left the backlog
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// open notes that a listener is accepted from, and goes on with what the previous process has
// accepted there.
func (k *Keeper) open(d *door) bool {
	if !k.enter() {
		return false
	}
	defer k.gate.RUnlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.note(d)
}

// note is open for who holds the gate and k.mu.
func (k *Keeper) note(d *door) bool {
	if k.life != serving {
		return false
	}
	k.doors[d] = struct{}{}
	if k.kicked.Err() != nil {
		_ = d.listener.SetDeadline(time.Unix(1, 0))
	}
	if d.number == 0 {
		k.ids++
		d.number = k.ids
	}
	if i := d.heritage; i != nil {
		k.inherited = slices.DeleteFunc(k.inherited, func(v *inheritance) bool { return v == i })
		for _, b := range i.beginning {
			b.door = d
			k.start(b)
		}
		d.heritage = nil
	}
	return true
}

// client takes in a connection that has been accepted. The gate is held.
func (k *Keeper) client(d *door, c net.Conn) {
	k.mu.Lock()
	k.stats.Accepted++
	full := !k.hasPlace() || k.life != serving
	if full {
		k.stats.Refused++
	}
	k.mu.Unlock()
	if full {
		_ = c.Close()
		return
	}
	b := &beginning{door: d, conn: c.(conn)}
	if !d.options.Proxy && d.options.TLS == nil {
		if err := k.finish(b); err != nil {
			k.refuse(b, err)
		}
		return
	}
	k.mu.Lock()
	k.start(b)
	k.mu.Unlock()
}

// conn is a *net.TCPConn or *net.UnixConn.
type conn interface {
	net.Conn
	syscall.Conn
}

// A beginning is a client of which something has to come first.
type beginning struct {
	door      *door
	conn      conn
	proxied   proxied
	proxyDone bool
	shaking   bool // in the TLS handshake, which cannot be interrupted; under Keeper.mu
	pumped    bool // a pump has conn: a deadline would end the session; under Keeper.mu
}

// shakeLimit is how long a TLS handshake may still take when everything has to stand still.
const shakeLimit = time.Second

// interrupt makes the waiting of a beginning end. Keeper.mu is held.
func (b *beginning) interrupt(on bool) {
	switch {
	case !on, b.pumped: // the next wait sets its own
	case b.shaking:
		_ = b.conn.SetDeadline(time.Now().Add(shakeLimit))
	default:
		_ = b.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// start begins with a client. k.mu is held.
func (k *Keeper) start(b *beginning) {
	k.beginning[b] = struct{}{}
	k.goOn(func() { k.receive(b) })
}

// receive waits for what has to come first from a client, and makes it a session.
func (k *Keeper) receive(b *beginning) {
	end := time.Now().Add(b.door.options.Patience)
	for {
		if !k.enter() {
			_ = b.conn.Close()
			return
		}
		err := k.step(b, end)
		done := err == nil || !errors.Is(err, errInterrupted)
		if done {
			k.mu.Lock()
			delete(k.beginning, b)
			k.mu.Unlock()
		}
		if done && err != nil {
			k.refuse(b, err)
		}
		k.gate.RUnlock()
		if done {
			return
		}
	}
}

var errInterrupted = errors.New("interrupted")

// shake does the TLS handshake of a client, and makes a session of it. The gate is held.
func (k *Keeper) shake(b *beginning) error {
	if err := k.deadline(b, time.Now().Add(b.door.options.Patience), true); err != nil {
		return err
	}
	c := tls.Server(b.conn, b.door.options.TLS)
	if err := c.Handshake(); err != nil {
		return err
	}
	k.mu.Lock()
	b.shaking, b.pumped = false, true
	_ = b.conn.SetDeadline(time.Time{})
	k.mu.Unlock()
	s, err := k.pumped(c, b.conn, b.door.options.Linger)
	if err != nil {
		return err
	}
	if b.proxied.remote.IsValid() {
		s.header.Remote, s.header.Local = transport.FromAddrPort(b.proxied.remote), transport.FromAddrPort(b.proxied.local)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.admit(s)
	return nil
}

// deadline sets the end of the next wait, unless everything has to stand still.
func (k *Keeper) deadline(b *beginning, end time.Time, shaking bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kicked.Err() != nil {
		return errInterrupted
	}
	b.shaking = shaking
	if shaking {
		return b.conn.SetDeadline(end)
	}
	return b.conn.SetReadDeadline(end)
}

// see waits until enough of what a client has sent is there, and leaves it unread.
func (k *Keeper) see(b *beginning, end time.Time, p []byte, enough func(n int) bool) error {
	if err := k.deadline(b, end, false); err != nil {
		return err
	}
	raw, err := b.conn.SyscallConn()
	if err == nil {
		err = peek(raw, p, enough)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && k.kicked.Err() != nil {
		return errInterrupted
	}
	return err
}

// step does all that is left to do with a client. The gate is held.
func (k *Keeper) step(b *beginning, end time.Time) error {
	o := &b.door.options
	if o.Proxy && !b.proxyDone {
		p, size := make([]byte, proxyMost), 0
		var wrong error
		err := k.see(b, end, p, func(n int) bool {
			b.proxied, size, wrong = parseProxy(p[:n])
			return size > 0 || wrong != nil
		})
		switch {
		case err == nil && wrong != nil:
			return wrong
		case err == nil && size == 0:
			return malformed("no PROXY header")
		case err != nil:
			return err
		}
		raw, err := b.conn.SyscallConn()
		if err == nil {
			e := raw.Control(func(fd uintptr) { err = discard(int(fd), int64(size)) })
			err = errors.Join(err, e)
		}
		if err != nil {
			return err
		}
		b.proxyDone = true
		end = time.Now().Add(o.Patience)
	}
	if o.TLS != nil {
		if err := k.see(b, end, make([]byte, 1), func(n int) bool { return n > 0 }); err != nil {
			return err
		}
		return k.shake(b)
	}
	return k.finish(b)
}

// refuse ends a client that does not begin as it should. The gate is held.
func (k *Keeper) refuse(b *beginning, err error) {
	_ = b.conn.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stats.Refused++
	k.o.Log.Debug("a client is refused", "client", b.conn.RemoteAddr(), "error", err)
}

// finish makes a session of a connection whose bytes go to a worker as they are. The gate is held.
func (k *Keeper) finish(b *beginning) error {
	s, err := k.direct(b)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.admit(s)
	return nil
}

// direct makes a session of a connection, whose bytes nobody here reads.
func (k *Keeper) direct(b *beginning) (*session, error) {
	fd, err := duplicate(b.conn)
	if err != nil {
		return nil, err
	}
	s := &session{fd: fd}
	if s.header, err = k.describe(b, fd); err != nil {
		closeFD(fd)
		return nil, err
	}
	if p := s.header.Protocol; s.header.Family == syscall.AF_UNIX || p != 0 && p != syscall.IPPROTO_TCP { // MPTCP, say
		s.kind = never
	}
	_ = b.conn.Close() // the duplicate stays
	return s, nil
}

// describe makes the header of a session whose descriptor is fd.
func (k *Keeper) describe(b *beginning, fd int) (bind10.Header, error) {
	h, err := bind10.Describe(fd, nil)
	if err != nil || !b.proxied.remote.IsValid() {
		return h, err
	}
	if h.Family == syscall.AF_INET && !b.proxied.remote.Addr().Unmap().Is4() {
		return h, malformed("a PROXY header with the IPv6 client %v on a socket of IPv4, whose workers cannot be told", b.proxied.remote)
	}
	h.Remote, h.Local = transport.FromAddrPort(b.proxied.remote), transport.FromAddrPort(b.proxied.local)
	return h, nil
}
