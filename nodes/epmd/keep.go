package epmd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// The pauses of KeepOptions whose fields are zero.
const (
	defaultMinPause = 100 * time.Millisecond // before the first attempt
	defaultMaxPause = 5 * time.Second        // before any attempt
)

// KeepEvent is a change in the registration of a Keeper.
type KeepEvent struct {
	// Err is why the name is not registered, an *Error: the connection to the port mapper was lost, or
	// an attempt to register again has failed. ErrNameTaken means that another node has the name now.
	// nil: the name is registered again.
	Err      error
	Attempt  int           // the attempt's number since the loss, from 1; 0: the name was lost just now
	Pause    time.Duration // with an Err: time until the next attempt
	Creation uint32        // without an Err: what the port mapper gave; the Keeper's stays the first
}

// KeepOptions are the choices of Client.Keep. The zero value, and nil, are fine.
type KeepOptions struct {
	// MinPause is the time from a loss to the first attempt to register again. It doubles with each
	// failure, and with each registration that lasts less than MaxPause, up to MaxPause. Zero or
	// less: a fraction of a second, and seconds; a MaxPause below MinPause counts as MinPause.
	MinPause, MaxPause time.Duration
	// Notify is called for every change after the first registration, in order and one at a time,
	// on the Keeper's goroutine: the next attempt waits for it. It must not call Close. Nil:
	// nothing is called.
	Notify func(KeepEvent)
	// Absent is called after Notify when an attempt has found no port mapper, with the time since
	// the loss. It may, for example, start a Server; if it returns true, the next attempt is made
	// at once. It must not call Close either. Nil: the next attempt is made after its pause.
	Absent func(since time.Duration) bool
	// Logger gets the same events as Notify: losses and failures as warnings. Nil: nothing is logged.
	Logger *slog.Logger
}

// Keeper holds a name at a port mapper across the port mapper's restarts. The node goes on under
// the creation it was given first: its identifiers stay valid, and connected nodes notice nothing.
// Methods may be called concurrently.
type Keeper struct {
	client   *Client
	reg      Registration
	opts     KeepOptions
	creation uint32
	cancel   context.CancelFunc
	pauses   chan *keeperPause // see Freeze
	done     chan struct{}

	mu  sync.Mutex
	err error
}

// Keep registers a node as Register does, with the same errors, and after that registers it again
// whenever the connection to the port mapper is lost, until Close. ctx bounds only the first
// registration.
func (c *Client) Keep(ctx context.Context, reg Registration, opts *KeepOptions) (*Keeper, error) {
	first, err := c.Register(ctx, reg)
	if err != nil {
		return nil, err
	}
	k := c.keeper(first.Registration(), first.Creation, opts)
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k.cancel = cancel
	go k.run(life, first)
	return k, nil
}

// keeper makes a Keeper that does not run yet.
func (c *Client) keeper(reg Registration, creation uint32, opts *KeepOptions) *Keeper {
	k := &Keeper{client: c, reg: reg, creation: creation, pauses: make(chan *keeperPause), done: make(chan struct{})}
	if opts != nil {
		k.opts = *opts
	}
	if k.opts.MinPause <= 0 {
		k.opts.MinPause = defaultMinPause
	}
	if k.opts.MaxPause <= 0 {
		k.opts.MaxPause = defaultMaxPause
	}
	k.opts.MaxPause = max(k.opts.MaxPause, k.opts.MinPause)
	if k.opts.Notify == nil {
		k.opts.Notify = func(KeepEvent) {}
	}
	if k.opts.Absent == nil {
		k.opts.Absent = func(time.Duration) bool { return false }
	}
	if k.opts.Logger == nil {
		k.opts.Logger = slog.New(slog.DiscardHandler)
	}
	return k
}

// Creation is the one given by the first registration.
func (k *Keeper) Creation() uint32 { return k.creation }

// Err is nil while the name is registered; else it says why it is not at present, or is
// net.ErrClosed after Close.
func (k *Keeper) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// Close gives the name up and ends the Keeper, and waits for the port mapper as Registered.Close
// does. It waits for an attempt in progress to be broken off, for Notify, and while the Keeper is
// frozen. It may be called more than once; the error is always nil.
func (k *Keeper) Close() error {
	k.cancel()
	<-k.done
	return nil
}

// run holds the name, and regains it, until ctx ends or the Keeper moves to another process. If r
// is nil, the name is to be regained first.
func (k *Keeper) run(ctx context.Context, r *Registered) {
	defer close(k.done)
	addr, _ := k.client.addr("")
	defer k.set(&Error{Op: "register", Addr: addr, Name: k.reg.Name, Err: net.ErrClosed})
	pause := k.opts.MinPause
	if r == nil {
		r, pause = k.regain(ctx, pause)
	}
	for r != nil {
		since := time.Now()
		for lost := false; !lost; {
			select {
			case <-ctx.Done():
				_ = r.Close() // giving up is all that is asked for
				return
			case p := <-k.pauses:
				if !p.rest(r) {
					return
				}
			case <-r.Done():
				lost = true
			}
		}
		if time.Since(since) >= k.opts.MaxPause {
			pause = k.opts.MinPause
		}
		k.tell(KeepEvent{Err: r.Err(), Pause: pause})
		r, pause = k.regain(ctx, pause)
	}
}

// regain tries until the name is registered again, and gives the pause to start with if that
// registration does not last. A nil Registered means that ctx ended, or that the Keeper goes on in
// another process.
func (k *Keeper) regain(ctx context.Context, pause time.Duration) (*Registered, time.Duration) {
	lost, wait := time.Now(), pause
	for attempt := 1; ; attempt++ {
		timer := time.NewTimer(wait)
		for due := false; !due; {
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil, 0
			case p := <-k.pauses:
				if !p.rest(nil) {
					timer.Stop()
					return nil, 0
				}
			case <-timer.C:
				due = true
			}
		}
		pause = min(2*pause, k.opts.MaxPause)
		r, err, here := k.attempt(ctx)
		switch {
		case !here:
			return nil, 0
		case err == nil:
			k.tell(KeepEvent{Attempt: attempt, Creation: r.Creation})
			return r, pause
		case ctx.Err() != nil:
			return nil, 0
		}
		k.tell(KeepEvent{Err: err, Attempt: attempt, Pause: pause})
		wait = pause
		if errors.Is(err, ErrNoPortMapper) && k.opts.Absent(time.Since(lost)) {
			wait = 0
		}
	}
}

// attempt tries to register once. A freeze breaks the attempt off, so that a silent port mapper
// does not hold the freeze up; if the Keeper goes on in this process afterwards (here), the attempt
// begins anew.
func (k *Keeper) attempt(ctx context.Context) (r *Registered, err error, here bool) {
	for {
		trying, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			r, err = k.client.Register(trying, k.reg)
		}()
		select {
		case <-done:
			cancel()
			return r, err, true
		case p := <-k.pauses:
			cancel()
			<-done // Register may have succeeded all the same
			here = p.rest(r)
			if !here || err == nil {
				return r, err, here
			}
		}
	}
}

func (k *Keeper) set(err error) {
	k.mu.Lock()
	k.err = err
	k.mu.Unlock()
}

func (k *Keeper) tell(e KeepEvent) {
	k.set(e.Err)
	if e.Err == nil {
		k.opts.Logger.Info("registered again at the port mapper", "name", k.reg.Name, "attempt", e.Attempt, "given", e.Creation, "creation",
			k.creation)
	} else {
		k.opts.Logger.Warn("not registered at the port mapper", "name", k.reg.Name, "error", e.Err, "pause", e.Pause)
	}
	k.opts.Notify(e)
}
