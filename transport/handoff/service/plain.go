package service

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
)

// form is that of the state of listeners and connections.
const form = "cnode-service-1"

// A plain is the Owner of a program of servers: its listeners, and the connections of which nothing
// is in progress.
type plain struct {
	s      *Service
	opened []net.Listener // by systemd
	kept   *Kept
	state  state // of it

	mu        sync.Mutex
	begun     bool
	listeners []*listener
	conns     map[*conn]struct{}
	hold      *hold
	moving    bool          // what is idle goes on elsewhere
	side      *handoff.Conn // to the process that has the listeners
	before    int           // 1: the process that had the listeners still sends connections
	changed   chan struct{} // closed when any of these has
	err       error
	done      chan struct{}
	failed    chan error
}

// A hold stops the readers of idle connections.
type hold struct {
	called  map[*conn]struct{} // have been told, and have not stopped yet
	stopped map[*conn]struct{}
	over    chan struct{}
}

// A state is what is handed over: the fields FD are places among the descriptors.
type state struct {
	Side      bool // the first descriptor is where more connections come from
	Listeners []passed
	Conns     []passed
}

func newPlain(s *Service) *plain {
	p := &plain{s: s, conns: map[*conn]struct{}{}, changed: make(chan struct{}), done: make(chan struct{}), failed: make(chan error, 1)}
	if os.Getenv(Variable) != "" {
		return p
	}
	kept, err := takeKept()
	if err == nil && kept != nil {
		err = json.Unmarshal(kept.State, &p.state)
	}
	if err != nil {
		s.logOf(nil).Warn("what was kept is of no use: all begins anew", "error", err)
	}
	if err == nil && kept != nil {
		p.kept = kept
		p.kept.opened = nil // the next line takes them
		var all []passed
		for _, l := range p.state.Listeners {
			all = append(all, passed{FD: kept.FDs[l.FD], Network: l.Network, Address: l.Address})
		}
		remember(all)
	}
	p.opened = activated()
	return p
}

// add has a listener belong to the service.
func (p *plain) add(l *listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.listeners {
		if o.network == l.network && o.address == l.address {
			l.nth++
		}
	}
	p.listeners = append(p.listeners, l)
	if p.begun {
		l.own()
	}
}

// tell says that something has changed; the caller holds mu.
func (p *plain) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// until waits for a condition, which is looked at under mu.
func (p *plain) until(ctx context.Context, is func() bool) error {
	for {
		p.mu.Lock()
		ok, changed := is(), p.changed
		p.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// asks is what an idle connection may do: read, wait and look again, or go to another process.
func (p *plain) asks(c *conn) (wait <-chan struct{}, pass bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.side != nil:
		return nil, true
	case p.hold != nil:
		p.hold.stopped[c] = struct{}{}
		delete(p.hold.called, c)
		p.tell()
		return p.hold.over, false
	}
	c.mu.Lock()
	c.waiting = true
	c.mu.Unlock()
	return nil, false
}

// heard says that a connection which was told to stop has something to do.
func (p *plain) heard(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold != nil {
		delete(p.hold.called, c)
		p.tell()
	}
}

// forget drops a connection that is about to be closed; false: it is not this process's to close.
func (p *plain) forget(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold != nil {
		if _, ok := p.hold.stopped[c]; ok {
			return false
		}
		delete(p.hold.called, c)
	}
	_, ok := p.conns[c]
	delete(p.conns, c)
	p.tell()
	return ok
}

// stop begins a hold.
func (p *plain) stop() *hold {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &hold{map[*conn]struct{}{}, map[*conn]struct{}{}, make(chan struct{})}
	p.hold = h
	for c := range p.conns {
		if c.call() {
			h.called[c] = struct{}{}
		}
	}
	return h
}

// resume ends it.
func (p *plain) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.hold.over)
	p.hold = nil
}

// describe puts the stopped connections of a hold into a state.
func (h *hold) describe(s *state, add func(syscall.Conn) (int, error)) (conns []*conn, err error) {
	for c := range h.stopped {
		fd, err := add(c)
		if err != nil {
			return nil, err
		}
		s.Conns = append(s.Conns, c.passed(fd))
		conns = append(conns, c)
	}
	return conns, nil
}

// A pack is what is frozen of a service.
type pack struct {
	p      *plain
	state  state
	fds    []int
	conns  []*conn
	side   *handoff.Conn
	theirs *os.File
}

// add adds a descriptor, which stays its owner's.
func (k *pack) add(c syscall.Conn) (at int, err error) {
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { k.fds = append(k.fds, int(fd)) })
	}
	return len(k.fds) - 1, err
}

func (k *pack) State() []byte {
	b, _ := json.Marshal(k.state) // of strings and numbers
	return b
}

func (k *pack) Descriptors() []int { return k.fds }

// freeze stops what is idle, for a process that has the listeners already.
func (p *plain) freeze(ctx context.Context) (f handoff.Frozen, err error) {
	k := &pack{p: p}
	one, other, err := handoff.PacketPair()
	if err != nil {
		return nil, err
	}
	k.theirs = other
	socket, err := handoff.FileConn(one)
	if err == nil {
		k.side, err = handoff.NewConn(socket)
	}
	if err != nil {
		return nil, errors.Join(err, other.Close())
	}
	h := p.stop()
	defer func() {
		if err != nil {
			k.Thaw()
		}
	}()
	if err = p.until(ctx, func() bool { return len(h.called) == 0 }); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	k.state.Side = true
	if _, err = k.add(other); err != nil {
		return nil, err
	}
	if k.conns, err = h.describe(&k.state, k.add); err != nil {
		return nil, err
	}
	return k, nil
}

// Thaw has all go on here.
func (k *pack) Thaw() {
	if k.side == nil {
		k.p.fail(errors.New("the service has stopped, and nobody goes on with it"))
		return
	}
	k.p.resume()
	_ = errors.Join(k.side.Close(), k.theirs.Close())
}

// Release leaves all to the other process, and has what becomes idle later follow.
func (k *pack) Release() error {
	p := k.p
	p.mu.Lock()
	h := p.hold
	p.hold, p.moving, p.side = nil, true, k.side
	listeners := slices.Clone(p.listeners)
	p.mu.Unlock()
	for _, c := range k.conns {
		c.goes()
	}
	close(h.over)
	for _, l := range listeners {
		l.leave()
	}
	p.end(ErrMoved)
	if k.theirs != nil {
		return k.theirs.Close()
	}
	return nil
}

// end says why the service has ended here.
func (p *plain) end(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = why
		close(p.done)
	}
}

// passLimit bounds the sending of a connection to the process that has the listeners.
const passLimit = 3 * time.Second

// pass gives a connection to the process that has the listeners; false: it does not take it.
func (p *plain) pass(c *conn) bool {
	p.mu.Lock()
	side := p.side
	p.mu.Unlock()
	if side == nil {
		return false
	}
	text, err := json.Marshal(c.passed(0))
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), passLimit)
		defer cancel()
		err = handoff.Lend(func(fds []int) error { return side.Send(ctx, text, fds...) }, c)
	}
	if err != nil {
		p.s.logOf(nil).Warn("a connection does not follow to the new process", "error", err)
		p.mu.Lock()
		p.side = nil
		p.mu.Unlock()
		return false
	}
	c.goes()
	return true
}

// follow receives the connections that become idle in the process before this one.
func (p *plain) follow(side *handoff.Conn) {
	defer func() {
		_ = side.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.before = 0
		p.tell()
	}()
	buf := make([]byte, 4096)
	for {
		var set handoff.FDSet
		n, err := side.Receive(context.Background(), buf, &set, 1)
		if err != nil || n == 0 {
			_ = set.Close()
			return
		}
		var to passed
		fd, err := set.Steal(0)
		if err == nil {
			err = json.Unmarshal(buf[:n], &to)
			to.FD = fd
		}
		_ = set.Close()
		if err == nil {
			p.arrive(to)
		}
	}
}

// arrive gives a connection to its listener, if there still is one.
func (p *plain) arrive(from passed) {
	f := os.NewFile(uintptr(from.FD), from.Address)
	c, err := net.FileConn(f)
	_ = f.Close()
	if err != nil {
		return
	}
	p.mu.Lock()
	at := slices.IndexFunc(p.listeners, func(l *listener) bool {
		return l.network == from.Network && l.address == from.Address && l.nth == from.Nth
	})
	var l *listener
	if at >= 0 {
		l = p.listeners[at]
	}
	p.mu.Unlock()
	if l == nil {
		_ = c.Close()
		return
	}
	l.arrive(c, from)
}

// open has all listeners accept, and gives them what has come.
func (p *plain) open(conns []passed) {
	p.mu.Lock()
	p.begun = true
	for _, l := range p.listeners {
		l.own()
	}
	p.mu.Unlock()
	for _, c := range conns {
		p.arrive(c)
	}
}

// What is the word for it.
func (*plain) What() string { return "service" }

// Terms say that it is one.
func (*plain) Terms() handoff.Terms { return handoff.Terms{Know: []string{form}} }

// Prepare has nothing to do.
func (*plain) Prepare(context.Context, []byte) error { return nil }

// Begin begins anew, or with what was kept.
func (p *plain) Begin(context.Context, *Kept) (Owner, error) {
	for _, l := range p.opened { // that nobody wants
		if !slices.ContainsFunc(p.listeners, func(o *listener) bool { return o.l == l }) {
			_ = l.Close()
		}
	}
	var conns []passed
	if p.kept != nil {
		if err := p.kept.Forget(); err != nil {
			return nil, err
		}
		for _, c := range p.state.Conns {
			c.FD = p.kept.FDs[c.FD]
			conns = append(conns, c)
		}
	}
	p.open(conns)
	return p, nil
}

// A coming is what another process hands over, before it is this one's.
type coming struct {
	p     *plain
	state state
	set   *handoff.FDSet
}

// Restore goes on with what another process hands over.
func (p *plain) Restore(text []byte, fds []int) (handoff.Staged, Owner, error) {
	set, err := handoff.NewFDSet(fds...)
	c := &coming{p: p, set: set}
	if err == nil {
		err = json.Unmarshal(text, &c.state)
	}
	for _, at := range c.state.Conns {
		if err == nil && (at.FD < 0 || at.FD >= len(fds)) {
			err = fmt.Errorf("descriptor %d of %d", at.FD, len(fds))
		}
	}
	if err == nil && (!c.state.Side || len(fds) == 0) {
		err = errors.New("it is not said where later connections come from")
	}
	if err != nil {
		return nil, nil, errors.Join(err, set.Close())
	}
	return c, p, nil
}

// Start goes on.
func (c *coming) Start(context.Context) error {
	defer c.set.Close()
	var conns []passed
	for _, at := range c.state.Conns {
		if fd, err := c.set.Steal(at.FD); err == nil {
			at.FD = fd
			conns = append(conns, at)
		}
	}
	f, err := c.set.File(0, "connections")
	if err == nil {
		var socket *net.UnixConn
		if socket, err = handoff.FileConn(f); err == nil {
			var side *handoff.Conn
			if side, err = handoff.NewConn(socket); err == nil {
				c.p.before = 1
				go c.p.follow(side)
			}
		}
	}
	c.p.open(conns)
	return err
}

// Discard leaves it to the other process.
func (c *coming) Discard() error { return c.set.Close() }

// Offer gives listeners and idle connections to another process.
func (p *plain) Offer() (*handoff.Offer, func()) {
	p.mu.Lock()
	room := len(p.conns) + 1
	p.mu.Unlock()
	return &handoff.Offer{Terms: handoff.Terms{Require: []string{form}}, Count: func() int { return room }, Freeze: p.freeze}, func() {}
}

// Park stops the service, ends what is in progress, and keeps the rest.
func (p *plain) Park(ctx context.Context) (handoff.Frozen, error) {
	k := &pack{p: p}
	p.mu.Lock()
	p.moving = true
	listeners := slices.Clone(p.listeners)
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, p.s.drainTimeout())
	defer cancel()
	for _, l := range listeners {
		l.pause(ctx)
	}
	h := p.stop()
	p.drain(ctx, func() bool { return len(p.conns) == len(h.stopped) })
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range listeners {
		c, ok := l.l.(syscall.Conn)
		if !ok {
			continue
		}
		if fd, err := k.add(c); err == nil {
			k.state.Listeners = append(k.state.Listeners, passed{FD: fd, Network: l.network, Address: l.address})
		}
	}
	var err error
	k.conns, err = h.describe(&k.state, k.add)
	return k, err
}

// drain ends what is in progress: by the functions of OnEnd, and until is is true.
func (p *plain) drain(ctx context.Context, is func() bool) {
	p.s.mu.Lock()
	onEnd := p.s.onEnd
	p.s.onEnd = nil
	p.s.mu.Unlock()
	servers := len(onEnd)
	for _, f := range onEnd {
		go func() {
			if err := f(ctx); err != nil {
				p.Logger().Warn("a server has not ended in good order", "error", err)
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			servers--
			p.tell()
		}()
	}
	// a function need not look at ctx
	if err := p.until(ctx, func() bool { return servers == 0 && is() }); err != nil {
		p.mu.Lock()
		left := len(p.conns)
		p.mu.Unlock()
		p.Logger().Warn("connections are cut off", "number", left)
	}
}

// servesOn bounds how long a process serves once another one has the listeners. Meanwhile who has
// just connected gets an answer, and who asks again one that ends the connection (see package
// web): a server that is shut down drops requests that it has not read.
const servesOn = 2 * time.Second

// Leave ends what is in progress here, and waits for what still comes from the process before.
func (p *plain) Leave(ctx context.Context) error {
	over := func() bool {
		return p.before == 0 && (len(p.conns) == 0 || p.hold != nil && len(p.conns) == len(p.hold.stopped))
	}
	serves, cancel := context.WithTimeout(ctx, min(servesOn, p.s.drainTimeout()/5))
	_ = p.until(serves, over)
	cancel()
	p.drain(ctx, over)
	p.mu.Lock()
	side := p.side
	p.mu.Unlock()
	if side != nil {
		return side.Close()
	}
	return nil
}

// Shutdown ends the service.
func (p *plain) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	listeners := slices.Clone(p.listeners)
	p.mu.Unlock()
	var err error
	for _, l := range listeners {
		err = errors.Join(err, l.Close())
	}
	p.closeHeld()
	p.drain(ctx, func() bool { return len(p.conns) == 0 })
	p.end(net.ErrClosed)
	return err
}

// closeHeld closes the connections that no server has yet.
func (p *plain) closeHeld() {
	p.mu.Lock()
	var held []*conn
	for c := range p.conns {
		c.mu.Lock()
		if c.held {
			held = append(held, c)
		}
		c.mu.Unlock()
	}
	p.mu.Unlock()
	for _, c := range held {
		_ = c.Close()
	}
}

// Done, Err and Failed say how it is.
func (p *plain) Done() <-chan struct{} { return p.done }

// Err is why it has ended; nil: it has not.
func (p *plain) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Failed gives what Fail was told.
func (p *plain) Failed() <-chan error { return p.failed }

func (p *plain) fail(err error) {
	select {
	case p.failed <- err:
	default:
	}
}

// Logger is the service's.
func (p *plain) Logger() *slog.Logger { return cmp.Or(p.s.Logger, slog.New(slog.DiscardHandler)) }
