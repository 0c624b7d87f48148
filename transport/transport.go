package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/internal/await"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A Transport opens streams and listeners of one plug-in. It is safe for concurrent use.
type Transport interface {
	// Listen binds a new socket to addr and listens on it. A backlog of 0 is the system's largest.
	Listen(addr Addr, backlog int) (*Listener, error)
	// Connect opens a connection to addr. It waits until the connection is up, ctx ends, or the
	// attempt fails. If the Connect of a FullImpl plug-in succeeds within the second that it has
	// after the end of ctx, so does this one.
	Connect(ctx context.Context, addr Addr) (*Stream, error)
	// Name is the plug-in's name, Callbacks.Name; for a wrapper it is that of the Transport below.
	Name() string
	// Movable reports whether what the plug-in opens can be handed to another process: whether it
	// has Import.
	Movable() bool
	// Import makes a Stream of a descriptor and the state that Stream.Export gave in another
	// process. It owns fd on success only: after an error fd is open, and nothing has been sent on
	// the connection, unless the plug-in has no Release and its Close sends something. What kind of
	// descriptor fd is, the plug-in's Import has to check; those of this package take a connection
	// of their family only.
	Import(fd int, state []byte) (*Stream, error)
	// ImportListener makes a Listener of a listening descriptor, which is checked as by Import. It
	// owns fd on success only.
	ImportListener(fd int) (*Listener, error)
}

// New checks a plug-in's callbacks and makes a Transport of them. A missing mandatory field is an
// error that names it. setup is handed to Socket and Import. Where descriptors cannot be waited on
// (windows) callbacks without FullImpl are errors.ErrUnsupported.
func New[C any](cb Callbacks[C], setup any) (Transport, error) {
	if err := cb.check(true); err != nil {
		return nil, fmt.Errorf("transport.New: %w", err)
	}
	return newPlugin(cb, setup, false), nil
}

// A plugin is the Transport made of callbacks.
type plugin[C any] struct {
	cb     *Callbacks[C]
	setup  any
	prompt bool // see guarded
	policy *await.Policy
	// see guarded; 0: unresponsiveAfter
	patience time.Duration
}

func newPlugin[C any](cb Callbacks[C], setup any, prompt bool) *plugin[C] {
	return &plugin[C]{cb: &cb, setup: setup, prompt: prompt, policy: await.NewPolicy(DefaultPolling)}
}

// WithPatience is for tests that are not about callbacks which do not come back: on a machine that
// stands still for a while all of them look so.
func (p *plugin[C]) WithPatience(limit time.Duration) Transport {
	q := *p
	q.patience = limit
	return &q
}

// Patience is what WithPatience has set.
func (p *plugin[C]) Patience() time.Duration { return p.patience }

func (p *plugin[C]) WithPolling(limit time.Duration) Transport {
	if p.cb.Flags&FullImpl != 0 {
		return p
	}
	q := *p
	q.policy = await.NewPolicy(limit)
	return &q
}

func (p *plugin[C]) Name() string {
	if p.cb.Name != "" {
		return p.cb.Name
	}
	return reflect.TypeFor[C]().String()
}

func (p *plugin[C]) Movable() bool { return p.cb.Import != nil }

func (p *plugin[C]) Listen(addr Addr, backlog int) (*Listener, error) {
	if backlog <= 0 {
		backlog = sys.Backlog
	}
	var bound Addr
	s, err := p.open(addr, func(s socket) (err error) {
		if bound, err = s.listen(addr, backlog); err != nil {
			return err
		}
		return s.establish(false)
	})
	if err != nil {
		return nil, opError("listen", addr, err)
	}
	return &Listener{sock: s, addr: bound}, nil
}

func (p *plugin[C]) Connect(ctx context.Context, addr Addr) (*Stream, error) {
	if err := ended(ctx); err != nil {
		return nil, opError("connect", addr, err)
	}
	s, err := p.open(addr, func(s socket) error {
		err := s.connect(ctx, addr)
		if err == nil && p.metItself(s, addr) {
			resetOnClose(s) // else the port would stay in use for a while
			err = syscall.ECONNREFUSED
		}
		return err
	})
	if err != nil {
		return nil, opError("connect", addr, err)
	}
	return newStream(s, addr, connected), nil
}

func (p *plugin[C]) Import(fd int, state []byte) (*Stream, error) {
	s, peer, err := p.adopt(fd, state, false)
	if err != nil {
		return nil, opError("import", nil, err)
	}
	return newImported(s, peer, state), nil
}

func (p *plugin[C]) ImportListener(fd int) (*Listener, error) {
	s, local, err := p.adopt(fd, nil, true)
	if err != nil {
		return nil, opError("import", nil, err)
	}
	return &Listener{sock: s, addr: local}, nil
}

// A socket is what a Transport needs of one that it opens: a ready, or a full.
type socket interface {
	carrier
	acceptor
	opened() error // Socket has made it
	listen(addr Addr, backlog int) (bound Addr, err error)
	connect(ctx context.Context, addr Addr) error // and establish
	establish(polls bool) error
}

func (p *plugin[C]) newSocket() (socket, *guarded[C]) {
	patience := cmp.Or(p.patience, unresponsiveAfter)
	if p.cb.Flags&FullImpl != 0 {
		s := newFull(p.cb, patience)
		return s, &s.guarded
	}
	s := newReady(p.cb, patience, p.prompt, p.policy)
	return s, &s.guarded
}

// open makes a new socket, which use makes listen or connects.
func (p *plugin[C]) open(addr Addr, use func(s socket) error) (socket, error) {
	s, g := p.newSocket()
	if err := g.guard("Socket", func() (err error) { g.c, err = p.cb.Socket(p.setup, addr); return err }); err != nil {
		return nil, err
	}
	err := begin(func() error {
		if err := s.opened(); err != nil {
			return err
		}
		return use(s)
	}, g.abandon)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// adopt makes a socket of a descriptor, and what its reader needs for sleeping at once, so that a
// lack of descriptors shows before the old owner of a connection lets go of it. addr is the peer's
// address, or that of a listener itself. It owns fd on success only: the plug-in gets a duplicate,
// for its socket has to be freed if something fails after Import. This package's own plug-ins get
// fd itself, as they have nothing else to free; so do others on systems without duplicates.
func (p *plugin[C]) adopt(fd int, state []byte, listener bool) (_ socket, addr Addr, err error) {
	if p.cb.Import == nil {
		return nil, nil, fmt.Errorf("the plug-in has no Import: %w", errors.ErrUnsupported)
	}
	own := fd
	if !p.prompt {
		if own, err = sys.Dup(fd); err != nil {
			return nil, nil, err
		}
	}
	s, g := p.newSocket()
	g.given = true
	take := func() (err error) { g.c, err = p.cb.Import(p.setup, own, state); return err }
	if p.prompt {
		take = func() (err error) { g.c, err = p.cb.importAs(own, listener); return err }
	}
	err = begin(func() error { return g.guard("Import", take) }, func() error {
		if own == fd {
			return nil
		}
		return takeBack(own, fd)
	})
	if err != nil {
		return nil, nil, err
	}
	err = begin(func() error {
		err := s.establish(true)
		switch {
		case err != nil:
			return err
		case listener:
			addr = s.localAddr()
			return s.prepare(false)
		default:
			addr = peerAddr(s.descriptor())
			err = g.beginFrames(true)
		}
		if err != nil {
			return err
		}
		return s.restFirst()
	}, func() error { return g.disown(own == fd) })
	if err != nil {
		return nil, nil, err
	}
	if own != fd {
		_ = sys.Close(fd)
	}
	return s, addr, nil
}

// takeBack closes a duplicate of fd that Import has refused. An Import that has closed the
// duplicate itself is at fault: the number may stand for another file by now.
func takeBack(dup, fd int) error {
	if !sys.SameFile(dup, fd) {
		return contractError("Import", "it has closed a descriptor that it refused")
	}
	return sys.Close(dup)
}
