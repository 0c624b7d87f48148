package transport

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport/internal/await"
)

// A Polling is the limit that WithPolling sets, and what the Waiters that share it know of each
// other. The zero value has a limit of 0. A Polling must not be copied.
type Polling struct {
	made   sync.Once
	policy *await.Policy
}

// NewPolling returns a Polling with that limit; one above MaxPolling counts as MaxPolling.
func NewPolling(limit time.Duration) *Polling {
	return &Polling{policy: await.NewPolicy(min(max(limit, 0), MaxPolling))}
}

func (p *Polling) shared() *await.Policy {
	p.made.Do(func() {
		if p.policy == nil {
			p.policy = await.NewPolicy(0)
		}
	})
	return p.policy
}

// A Waiter waits for a descriptor as the SDK does for plug-ins without FullImpl: see WithPolling.
// It is for plug-ins with FullImpl that speak over a socket of their own, and so have to wait
// inside their callbacks, such as that of package tlstransport.
//
// One Read or Accept and one Write or Connected may be in flight at the same time; deadlines may be
// set meanwhile. Each call makes one try at least, even if its deadline has passed: so a timeout of
// 0 is a deadline of now. A call may end up to a millisecond after its deadline. To end a call at
// once, as Callbacks.Interrupt has to, set a deadline that has passed.
//
// Tries run on the goroutine of the call. A try must not wait, nor use the Waiter, and may return
// false only after EAGAIN: waiting is edge-triggered, so bytes that a try leaves unread do not wake
// the call.
type Waiter struct{ at *await.Waiter }

// Waiter returns a Waiter for a descriptor in non-blocking mode, which stays the caller's, to be
// closed only after the Waiter. A descriptor that cannot be waited on, such as that of a file, is
// ErrContract, and one that is not open EBADF; on Windows every one is errors.ErrUnsupported. On
// Linux the Waiter of a socket has no descriptor of its own before it sleeps; elsewhere it has a
// duplicate.
func (p *Polling) Waiter(fd int) (*Waiter, error) {
	w, err := await.NewWaiter(fd, p.shared())
	if not := new(await.NotWaitableError); errors.As(err, &not) {
		return nil, fmt.Errorf("a Waiter of descriptor %d: %w: it cannot be waited on", fd, ErrContract)
	}
	if err != nil {
		return nil, err
	}
	return &Waiter{w}, nil
}

// Read calls try whenever something may have come, until try is done; n is how many bytes it has
// read. The error is os.ErrDeadlineExceeded or os.ErrClosed; a lack of descriptors or memory is no
// error, but waited out.
func (w *Waiter) Read(try func() (n int, done bool)) error { return w.at.Read(try) }

// Accept calls try as Read does, for what does not come in a flow: connections, say. It ends with
// the read deadline; its errors are those of Read. On Linux what comes between two Accepts wakes no
// thread.
func (w *Waiter) Accept(try func() bool) error { return w.at.Accept(try) }

// Write calls try whenever there may be room, until try is done. It ends with the write deadline;
// its errors are those of Read. On Linux room that comes between two Writes wakes no thread.
func (w *Waiter) Write(try func() bool) error { return w.at.Write(try) }

// Took tells the Waiter of n bytes that have been read without Read: to judge the pace at which
// bytes come, the Waiter has to know of all of them. Only the reader may call it.
func (w *Waiter) Took(n int) { w.at.Took(n) }

// Wrote tells the Waiter of n bytes that have been written, by Write or without it: an answer is
// likely to follow. It may be called at any time.
func (w *Waiter) Wrote(n int) { w.at.Wrote(n) }

// Connected waits for the end of a connect(2) that is in progress, and returns its result. It ends
// with the write deadline. A lack of descriptors is an error of Connected.
func (w *Waiter) Connected() error { return w.at.Connected() }

// SetReadDeadline sets the time at which a Read or Accept, in flight or to come, ends; the zero
// time means never. It does not wait. os.ErrClosed after Close.
func (w *Waiter) SetReadDeadline(t time.Time) error { return w.at.SetReadDeadline(t) }

// SetWriteDeadline is the same for a Write or Connected, with the same error.
func (w *Waiter) SetWriteDeadline(t time.Time) error { return w.at.SetWriteDeadline(t) }

// Close ends all waits, and waits for a try that is running.
func (w *Waiter) Close() error { return w.at.Close() }
