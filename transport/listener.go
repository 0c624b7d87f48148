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
	"github.com/cnode-go/cnode/transport/internal/patience"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// A Listener accepts streams. Accept is for one caller at a time; Close may be called beside it.
type Listener struct {
	// Exhausted, if not nil, is called when an Accept begins to wait for lack of descriptors or
	// memory, or after a connection that the system has refused: once for each Accept, however
	// often that one has to wait. It is set before the first Accept.
	Exhausted func(error)

	sock      acceptor
	addr      Addr
	keepsPath atomic.Bool
	accepting atomic.Bool

	pausing sync.Mutex // one Pause or Resume at a time
	paused  atomic.Bool
	idle    chan struct{} // holds a token when an Accept has ended while paused; made by the first Pause
	// closed to end the pause that an Accept makes for lack of descriptors
	rests atomic.Pointer[chan struct{}]
}

// An acceptor is what a Listener needs of a socket, whatever its plug-in's C.
type acceptor interface {
	accept(ctx context.Context) (carrier, Addr, error)
	close() error
	release() error
	descriptor() (int, error)
	closed() <-chan struct{}
	halt(writing bool)
	resume(writing bool)
}

// Addr is the address that the listener is really bound to.
func (l *Listener) Addr() Addr { return l.addr }

// Accept waits for a connection. ECONNABORTED, the other errors of accept(2) that concern one
// connection (see its NOTES; EPERM), those that say that they are temporary (net.Error), and a lack
// of descriptors or memory do not end a listener: Accept goes on, at once after ECONNABORTED and
// after a pause otherwise, until ctx ends or the listener is closed (net.ErrClosed). A second
// concurrent call is ErrBusy.
func (l *Listener) Accept(ctx context.Context) (*Stream, error) {
	if !l.accepting.CompareAndSwap(false, true) {
		return nil, opError("accept", l.addr, ErrBusy)
	}
	defer l.endAccept()
	pause := patience.Backoff{First: 5 * time.Millisecond, Most: time.Second}
	told := false
	for {
		if l.paused.Load() {
			select {
			case <-l.sock.closed():
				return nil, opError("accept", l.addr, net.ErrClosed)
			default:
				return nil, opError("accept", l.addr, ErrPaused)
			}
		}
		s, peer, err := l.sock.accept(ctx)
		switch {
		case err == nil:
			return newStream(s, peer, accepted), nil
		case l.paused.Load() && ended(ctx) == nil && isOverdue(err):
		// of a Pause that has been given up since
		case isTimeout(err) && patience.HasTime(ctx) && ended(ctx) == nil:
		case errors.Is(err, syscall.ECONNABORTED):
			if err := ended(ctx); err != nil {
				return nil, opError("accept", l.addr, err)
			}
		case await.Exhausted(err) || ofConnection(err):
			if !told && l.Exhausted != nil {
				l.Exhausted(opError("accept", l.addr, err))
			}
			told = true
			halted := make(chan struct{})
			l.rests.Store(&halted)
			if pause.Wait(ctx, l.sock.closed(), halted) != nil {
				if e := ended(ctx); e != nil {
					err = fmt.Errorf("%w while waiting after: %w", e, err)
				}
				return nil, opError("accept", l.addr, err)
			}
		default:
			return nil, opError("accept", l.addr, err)
		}
	}
}

// Descriptor is the plug-in's file descriptor, which stays the plug-in's; errors.ErrUnsupported
// where it has none.
func (l *Listener) Descriptor() (int, error) {
	fd, err := l.sock.descriptor()
	return fd, opError("descriptor", l.addr, err)
}

// Close ends Accept with net.ErrClosed and closes the socket. It is idempotent.
func (l *Listener) Close() error {
	if l.keepsPath.Load() {
		return opError("close", l.addr, l.sock.release())
	}
	return opError("close", l.addr, l.sock.close())
}

// KeepPath makes Close leave the file of a UNIX socket where it is, for it belongs to somebody
// else: a service manager, say, that has opened the socket and will give it to the next process,
// too (systemd.socket(5)).
func (l *Listener) KeepPath() { l.keepsPath.Store(true) }

// KeepsPath reports whether KeepPath has been called.
func (l *Listener) KeepsPath() bool { return l.keepsPath.Load() }

// Release frees the socket in this process only: another process goes on listening. As with Close,
// Accept ends with net.ErrClosed. An error is the plug-in's (a *CallbackError: ErrUnresponsive), or
// the system's; the listener has ended here all the same.
func (l *Listener) Release() error { return opError("release", l.addr, l.sock.release()) }

// Pause stops accepting: an Accept in progress ends with ErrPaused, and later ones get it until
// Resume, while connections go on to arrive in the backlog. It waits until no Accept is in
// progress; when ctx ends before, the listener goes on and the error is ctx's. ErrPaused if the
// listener is paused already, or another call is about to pause it. A listener that is closed
// accepts nothing any more: that is nil.
func (l *Listener) Pause(ctx context.Context) error {
	if err := ended(ctx); err != nil {
		return opError("pause", l.addr, err)
	}
	if l.paused.Load() { // or about to be: see Stream.pause
		return opError("pause", l.addr, ErrPaused)
	}
	l.pausing.Lock()
	defer l.pausing.Unlock()
	if l.paused.Load() {
		return opError("pause", l.addr, ErrPaused)
	}
	if l.idle == nil {
		l.idle = make(chan struct{}, 1)
	}
	l.paused.Store(true)
	err := settle(ctx, &l.accepting, l.idle, l.halt)
	if err != nil {
		l.resume()
	}
	return opError("pause", l.addr, err)
}

// halt ends an Accept in progress, whatever it waits for.
func (l *Listener) halt() {
	if halted := l.rests.Swap(nil); halted != nil {
		close(*halted)
	}
	l.sock.halt(false)
}

// Resume lets a paused listener accept again.
func (l *Listener) Resume() {
	l.pausing.Lock()
	defer l.pausing.Unlock()
	l.resume()
}

func (l *Listener) resume() {
	l.sock.resume(false)
	l.paused.Store(false)
}

// endAccept frees the listener for the next Accept, and tells a Pause that waits.
func (l *Listener) endAccept() {
	l.accepting.Store(false)
	if l.paused.Load() {
		select {
		case l.idle <- struct{}{}:
		default:
		}
	}
}

// ofConnection reports whether err concerns only the connection that was to be accepted: accept(2)
// of Linux passes on that connection's pending network errors, and EPERM or EACCES comes from a
// firewall, or a security module. So may a listener of package net that checks its clients
// (FromNet), by an error that is Temporary, as net/http has it. A breach of the plug-in's contract
// is no such error, whatever it wraps.
func ofConnection(err error) bool {
	if errors.Is(err, ErrContract) || isOverdue(err) {
		return false
	}
	var passes interface{ Temporary() bool }
	if errors.As(err, &passes) && passes.Temporary() {
		return true
	}
	for _, of := range []syscall.Errno{syscall.ENETDOWN, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, sys.ErrIsolated,
		syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.ENETUNREACH, syscall.EPERM, syscall.EACCES} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}
