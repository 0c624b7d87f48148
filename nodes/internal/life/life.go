package life

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A Phase says what may happen. The later the phase, the less: what may not happen in a phase waits
// until an earlier one has come (Before).
type Phase int32

const (
	// Open: everything.
	Open Phase = iota
	// Staged: it comes from another process, and has not been started here. Nothing is read, and
	// nothing comes up; what Config.Setup does is done.
	Staged
	// Draining: readers stop, and no call of the application begins. What runs goes on, and may
	// still call processes of this node.
	Draining
	// Ending: no process ends, and no link or monitor is made, because the application wants it. The
	// ends that have begun take effect.
	Ending
	// Frozen: nothing changes.
	Frozen
)

// IsStill tells whether a connection in that phase neither reads nor writes, nor ends.
func (p Phase) IsStill() bool { return p == Staged || p == Frozen }

// A Life is the phase of a node or a connection, and counts the work that is in progress. The zero
// value is open.
//
// A change takes a lock of what it changes, and then looks at the phase. Whoever sets a later phase
// takes each of these locks once afterwards: then all changes that began before are done, and none
// has to be counted.
type Life struct {
	phase   atomic.Int32
	refuses atomic.Bool

	mu     sync.Mutex
	change wait.Bell
	moving bool // a move to another process is in progress
	starts int  // in progress

	_    [64]byte   // every message looks at the phase, and every request changes the tally
	Work wait.Tally // functions, handlers and servers that are running
}

// Phase is the present one.
func (l *Life) Phase() Phase { return Phase(l.phase.Load()) }

// IsFrozen tells whether nothing may change.
func (l *Life) IsFrozen() bool { return l.Phase() == Frozen }

// IsOpen tells whether everything may happen.
func (l *Life) IsOpen() bool { return l.Phase() == Open }

// Set sets the phase, and wakes all that wait for it.
func (l *Life) Set(p Phase) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.phase.Store(int32(p))
	l.change.Ring()
}

// Drain is Set(Draining); false: the phase was not Open, and stays.
func (l *Life) Drain() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.IsOpen() {
		return false
	}
	l.phase.Store(int32(Draining))
	l.change.Ring()
	return true
}

// State is the phase, and a channel that is closed when that changes.
func (l *Life) State() (Phase, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Phase(), l.change.Next()
}

// Awaited tells whether a goroutine waits for another phase.
func (l *Life) Awaited() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.change.Awaited()
}

// Before waits for a phase before p, until ctx ends. With transport.NoWait it does not wait: the
// error is os.ErrDeadlineExceeded.
func (l *Life) Before(ctx context.Context, p Phase) error {
	if l.Phase() < p {
		return nil
	}
	return l.await(ctx, func() bool { return l.Phase() < p })
}

// Pass waits until nothing at all is held back, or ctx ends: it is Before with the first phase that
// holds something back.
func (l *Life) Pass(ctx context.Context) error { return l.Before(ctx, Staged) }

// Lock locks mu, for a change that waits from phase p on, until ctx ends; unless is, which is
// called with mu held, says that it need not wait. is may be nil.
func (l *Life) Lock(ctx context.Context, mu sync.Locker, p Phase, is func() bool) error {
	for {
		mu.Lock()
		if l.Phase() < p || is != nil && is() {
			return nil
		}
		mu.Unlock()
		if err := l.Before(ctx, p); err != nil {
			return err
		}
	}
}

// Begin counts work that is about to begin, until Work.Leave. false: work is refused, and this must
// not begin; what a process of this node has asked for (here) still does as long as other work is
// in progress, since that may wait for it.
func (l *Life) Begin(here bool) bool {
	if !l.refuses.Load() {
		l.Work.Enter()
		if !l.refuses.Load() {
			return true
		}
		l.Work.Leave() // whoever refuses may not have seen it
	}
	return here && l.Work.Join()
}

// Refuse lets no work begin from now on, whatever the phase: see Begin.
func (l *Life) Refuse() { l.refuses.Store(true) }

// Refuses tells whether Refuse was called.
func (l *Life) Refuses() bool { return l.refuses.Load() }

// Move begins a move to another process, which EndMove ends; false: another one is in progress.
func (l *Life) Move() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.moving
	l.moving = true
	return !was
}

// IsMoving tells whether a move is in progress.
func (l *Life) IsMoving() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moving
}

// EndMove ends the move.
func (l *Life) EndMove() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moving = false
	l.change.Ring()
}

// Start begins a start, which EndStart ends. It waits for the end of a move, until ctx ends.
func (l *Life) Start(ctx context.Context) error {
	return l.await(ctx, func() bool {
		if !l.moving {
			l.starts++
		}
		return !l.moving
	})
}

// EndStart ends a start.
func (l *Life) EndStart() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starts--
	l.change.Ring()
}

// AwaitStarts waits until no start is in progress, until ctx ends.
func (l *Life) AwaitStarts(ctx context.Context) error {
	return l.await(ctx, func() bool { return l.starts == 0 })
}

// await waits until is, which is called with mu held, returns true.
func (l *Life) await(ctx context.Context, is func() bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !is() {
		if err := l.change.Wait(ctx, &l.mu); err != nil {
			return err
		}
	}
	return nil
}
