package handoff

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// An Offer is the old owner's side of a hand-off: what there is to hand over, and how. The other
// side is an Acceptance. Fields must not be changed once it is in use. Only one hand-off goes on at
// a time; a Give that is called meanwhile refuses with ErrBusy.
type Offer struct {
	// Terms are told at hello.
	Terms Terms
	// Count tells at hello how many descriptors the new owner needs at least, as things are now,
	// and takes the place of Terms.Descriptors: if the new owner does not take as many, nothing is
	// frozen. The new owner may need more than the descriptors that are sent: a transport.Stream
	// needs another one to wait with. Optional.
	Count func() int
	// Plugins tells at hello which plug-ins the new owner needs beside Terms.Plugins, as things are
	// now: if it lacks one, the hand-off is refused and nothing is frozen. Optional.
	Plugins func() []string
	// Static returns state from which the new owner may build things while the old one still runs.
	// Optional; nil: none.
	Static func(ctx context.Context) ([]byte, error)
	// Freeze stops what is to be handed over, or fails and leaves it running. Mandatory. ctx ends
	// with Deadlines.Freeze.
	Freeze func(ctx context.Context) (Frozen, error)
	// Deadlines bound the steps.
	Deadlines Deadlines

	busy atomic.Bool
}

// A Frozen is what Freeze has stopped. It stands still until exactly one of two methods is called:
// Thaw, after which it goes on as if nothing had happened, or Release, which gives it up without
// sending a byte to any peer. It keeps owning its descriptors.
type Frozen interface {
	// State is what the new owner needs beside the descriptors.
	State() []byte
	// Descriptors are the descriptors to send, in the order that the state relies on.
	Descriptors() []int
	// Thaw resumes the service in this process.
	Thaw()
	// Release gives up what was handed over: the new owner has it, even if Release fails. Give
	// returns Release's error.
	Release() error
}

// Handed says what has become of an Offer.
type Handed struct {
	Moved bool // the new owner has everything; else this process goes on
	Peer  Cred // the new owner's process
	// how long neither side served: from the start of Freeze to the new owner's done, the end of
	// the wait for it, or Thaw
	Silence time.Duration
}

// Give hands over, and returns when the new owner has everything, or when it is certain that
// nothing has changed. Handed.Moved tells which, whatever the error. If Moved is false, this
// process remains the owner, and the error is a *Error that says why. If Moved is true, an
// error says that the new owner has not reported that it runs, and may have died, that its Start
// has failed (a *StartError), or that Release failed. Give does not close the channel.
func (o *Offer) Give(ctx context.Context, ch *Channel) (Handed, error) {
	g := &giving{exchange: exchange{ch: ch, side: oldOwner, reached: handoffpoint.Of(ctx), d: o.Deadlines.complete()}, o: o}
	if o.Freeze == nil { // before any message is awaited
		return g.kept(g.fail(stepHello, errors.New("mandatory field Offer.Freeze is nil")))
	}
	if !o.busy.CompareAndSwap(false, true) {
		err := g.fail(stepHello, ErrBusy)
		g.refuse(err)
		return Handed{Peer: ch.peer}, err
	}
	defer o.busy.Store(false)
	return g.give(ctx)
}

// giving is one hand-off, as the old owner sees it.
type giving struct {
	exchange
	o     *Offer
	limit Terms // the new owner's
	token *token
	began time.Time
}

// give runs the whole hand-off. Until the token is written, each step either leads to the next one
// or ends with everything as it was.
func (g *giving) give(ctx context.Context) (Handed, error) {
	g.pass(handoffpoint.OwnerConnected)
	if err := g.hello(ctx); err != nil {
		return g.kept(g.fail(stepHello, err))
	}
	g.pass(handoffpoint.OwnerGreeted)
	if err := g.static(ctx); err != nil {
		return g.kept(g.fail(stepStatic, err))
	}
	g.pass(handoffpoint.OwnerFreezes)
	g.began = time.Now()
	f, err := g.freeze(ctx)
	if err != nil {
		return g.kept(g.fail(stepFreeze, err))
	}
	g.pass(handoffpoint.OwnerFrozen)
	sum, err := g.offer(ctx, f)
	if err != nil {
		err = g.fail(stepOffer, err)
	} else if err = g.accepted(ctx, sum, len(f.Descriptors())); err != nil {
		err = g.fail(stepAccept, err)
	} else {
		g.pass(handoffpoint.OwnerAccepted)
		if err = g.token.write(); err != nil {
			err = g.fail(stepCommit, err)
		}
	}
	if err != nil {
		f.Thaw()
		if g.token != nil {
			err = errors.Join(err, g.token.close())
		}
		return g.kept(err)
	}
	g.pass(handoffpoint.OwnerCommitted)
	return g.taken(ctx, f)
}

// kept tells the other side why, and makes the outcome of a hand-off in which nothing has changed
// hands.
func (g *giving) kept(err error) (Handed, error) {
	g.refuse(err)
	h := Handed{Peer: g.ch.peer}
	if !g.began.IsZero() {
		h.Silence = time.Since(g.began)
	}
	return h, err
}

// hello finds out whether the two processes can do the hand-off at all. Nothing is frozen yet.
func (g *giving) hello(caller context.Context) error {
	ctx, cancel := context.WithTimeout(caller, g.d.Hello)
	defer cancel()
	m, err := g.receive(ctx, kindHello)
	// most likely the new process is still starting
	if errors.Is(err, context.DeadlineExceeded) && caller.Err() == nil {
		return fmt.Errorf("the new process has not answered within %v: %w", g.d.Hello, err)
	}
	if err != nil {
		return err
	}
	theirs, err := parseHello(m.body)
	if err != nil {
		return err
	}
	g.ch.note(theirs.pid)
	g.limit = theirs.Terms
	if err := checkHello(theirs, g.o.Terms); err != nil {
		return err
	}
	ours := g.o.Terms
	if g.o.Plugins != nil {
		ours.Plugins = slices.Concat(ours.Plugins, g.o.Plugins())
	}
	if err := lacking("plug-in", ours.Plugins, theirs.Plugins); err != nil {
		return err
	}
	if g.o.Count != nil {
		ours.Descriptors = g.o.Count()
	}
	if n := ours.Descriptors; n > theirs.Descriptors {
		return fmt.Errorf("%w: about %d descriptors are needed, the new process has room for %d", ErrLimit, n, theirs.Descriptors)
	}
	if err := g.send(ctx, kindHello, appendHello(nil, hello{minVersion, maxVersion, os.Getpid(), ours})); err != nil {
		return err
	}
	_, err = g.receive(ctx, kindReady)
	return err
}

// static sends what the new owner may build beforehand, and waits until it has built it.
func (g *giving) static(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.d.Static)
	defer cancel()
	var p []byte
	if g.o.Static != nil {
		var err error
		if p, err = g.o.Static(ctx); err != nil {
			return err
		}
	}
	if len(p) > g.limit.StateBytes {
		return fmt.Errorf("%w: %d bytes beforehand, the new process takes %d", ErrLimit, len(p), g.limit.StateBytes)
	}
	if err := g.chunks(ctx, kindStatic, p, handoffpoint.OwnerStaticHalf); err != nil {
		return err
	}
	_, err := g.receive(ctx, kindPrepared)
	return err
}

func (g *giving) freeze(ctx context.Context) (Frozen, error) {
	ctx, cancel := context.WithTimeout(ctx, g.d.Freeze)
	defer cancel()
	f, err := g.o.Freeze(ctx)
	if err == nil && f == nil {
		err = errors.New("Offer.Freeze gave nothing, and no error")
	}
	return f, err
}

// offer sends the descriptors, the state, and the read end of the pipe.
func (g *giving) offer(ctx context.Context, f Frozen) (sum [sha256.Size]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, g.d.Offer)
	defer cancel()
	fds, state := f.Descriptors(), f.State()
	switch {
	case len(fds) > g.limit.Descriptors:
		return sum, fmt.Errorf("%w: %d descriptors, the new process has room for %d", ErrLimit, len(fds), g.limit.Descriptors)
	case len(state) > g.limit.StateBytes:
		return sum, fmt.Errorf("%w: a state of %d bytes, the new process takes %d", ErrLimit, len(state), g.limit.StateBytes)
	}
	for at := 0; at < len(fds); at += descriptorsAMessage {
		part := fds[at:min(at+descriptorsAMessage, len(fds))]
		if err := g.send(ctx, kindDescriptors, appendCounts(nil, at, len(part)), part...); err != nil {
			return sum, err
		}
		if at == 0 {
			g.pass(handoffpoint.OwnerDescriptorsHalf)
		}
		// only then the next ones: the system limits a user's descriptors in flight
		m, err := g.receive(ctx, kindReceived)
		if err != nil {
			return sum, err
		}
		got, err := parseOffer(m)
		if err == nil && got.first != at+len(part) {
			err = fault.Malformed("%d descriptors are there, of %d that were sent", got.first, at+len(part))
		}
		if err != nil {
			return sum, err
		}
	}
	g.pass(handoffpoint.OwnerDescriptorsSent)
	if err := g.state(ctx, state); err != nil {
		return sum, err
	}
	g.pass(handoffpoint.OwnerStateSent)
	if g.token, err = newToken(); err != nil {
		return sum, err
	}
	body := appendCounts(nil, len(fds), len(state))
	err = Lend(func(fds []int) error { return g.send(ctx, kindOffer, body, fds...) }, g.token.r)
	return sha256.Sum256(state), err
}

// state sends p in a memory file if p is long and a memory file can be made, else in pieces. So a
// filter of system calls, or a lack of descriptors, does not prevent the hand-off.
func (g *giving) state(ctx context.Context, p []byte) error {
	if len(p) > longState && slices.Contains(g.limit.Know, featureMemoryFile) {
		fd, err := system.SealedFile(stateName, p)
		if err == nil {
			err = g.send(ctx, kindStateFile, appendCounts(nil, 0, len(p)), fd)
			return errors.Join(err, sys.Close(fd))
		}
	}
	return g.chunks(ctx, kindState, p, handoffpoint.OwnerStateHalf)
}

// accepted waits until the new owner has staged everything, and checks that it has what was sent.
func (g *giving) accepted(ctx context.Context, sum [sha256.Size]byte, descriptors int) error {
	ctx, cancel := context.WithTimeout(ctx, g.d.Stage)
	defer cancel()
	g.pass(handoffpoint.OwnerOffered)
	m, err := g.receive(ctx, kindAccept)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("the new process has not staged the state within %v (Deadlines.Stage): %w", g.d.Stage, err)
		}
		return err
	}
	theirs, n, err := parseAccept(m.body)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(theirs, sum[:]):
		return fmt.Errorf("%w: the state that it has is not the one that was sent", ErrMalformed)
	case n != descriptors:
		return fmt.Errorf("%w: it has %d descriptors, of %d", ErrMalformed, n, descriptors)
	}
	return nil
}

// taken waits for the new owner's kindDone message. Ownership does not depend on that message, but
// on whether the token has been read.
func (g *giving) taken(ctx context.Context, f Frozen) (Handed, error) {
	waiting, cancel := context.WithTimeout(ctx, g.d.Take)
	done, err := g.receive(waiting, kindDone)
	gaveUp := err != nil && waiting.Err() != nil
	cancel()
	back, e := g.token.takeBack()
	// the report may be there all the same: the wait does not look once its context has ended
	if gaveUp && !back {
		late, now := g.receive(transport.NoWait(), kindDone)
		if !errors.Is(now, os.ErrDeadlineExceeded) {
			done, err = late, now
		}
	}
	var started error // valid if err is nil
	if err == nil {
		started = parseDone(done.body)
	}
	// cannot happen on our own pipe; if it does, Moved is true, so that there are never two owners
	if e != nil {
		err = errors.Join(err, e)
	}
	if back && err == nil {
		err = fault.Malformed("the new process reports that it runs, and has not read the token")
	}
	e = g.token.close()
	h := Handed{Moved: !back, Peer: g.ch.peer, Silence: time.Since(g.began)}
	if back {
		f.Thaw()
		err = fmt.Errorf("%w: the new process did not read the token, which has been taken back: %w", ErrNotTaken, err)
		err = g.fail(stepCommit, errors.Join(err, e))
		g.refuse(err)
		return h, err
	}
	g.pass(handoffpoint.OwnerHeard)
	if err != nil {
		err = g.fail(StepTake, fmt.Errorf("the new process has read the token, but has not reported that it runs: %w", err))
	} else if started != nil {
		err = g.fail(StepTake, started)
	}
	if e := errors.Join(e, f.Release()); e != nil {
		err = errors.Join(err, g.fail(stepRelease, e))
	}
	g.pass(handoffpoint.OwnerReleased)
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.d.Goodbye)
	defer cancel()
	_ = g.send(bye, kindGoodbye, nil) // the new owner may be gone, and does not depend on it
	g.pass(handoffpoint.OwnerLeaves)
	return h, err
}

// Deadlines bound the steps of a hand-off, on either side. 0 is the default; every step has a
// deadline. The service is silent for Freeze, Offer, Stage and twice Take at most: if the new owner
// reads the token at the end of the old owner's Take, it still has its own Take to start. A new
// program that hangs usually costs Stage, whose default is less than the 5 s that callers of an
// Erlang node mostly wait.
type Deadlines struct {
	Hello  time.Duration // the other side's messages of hello: 5 s
	Static time.Duration // sending what may be built beforehand, and building it: 30 s
	// old owner: Freeze; new owner: the wait for the first part of the offer, added to Offer: 15 s
	Freeze time.Duration
	Offer  time.Duration // descriptors and state: 5 s
	Stage  time.Duration // the new owner's Stage: 3 s
	// old owner: until the token is read and done is said; new owner: to wait for the token, and
	// again to start: 5 s
	Take    time.Duration
	Goodbye time.Duration // new owner: the wait for the old owner's Release; old owner: to say goodbye: 5 s
}

func (d Deadlines) complete() Deadlines {
	for _, x := range []struct {
		v *time.Duration
		d time.Duration
	}{
		{&d.Hello, 5 * time.Second}, {&d.Static, 30 * time.Second}, {&d.Freeze, 15 * time.Second}, {&d.Offer, 5 * time.Second},
		{&d.Stage, 3 * time.Second}, {&d.Take, 5 * time.Second}, {&d.Goodbye, 5 * time.Second},
	} {
		if *x.v <= 0 {
			*x.v = x.d
		}
	}
	return d
}

// checkHello checks what must hold on both sides: the version, the features, and the name of what
// is handed over.
func checkHello(theirs hello, ours Terms) error {
	if theirs.max < minVersion || theirs.min > maxVersion {
		return fmt.Errorf("%w: it speaks %d to %d, and this process %d to %d", ErrVersion, theirs.min, theirs.max, minVersion, maxVersion)
	}
	if err := lacking("feature", theirs.Require, ours.Know); err != nil {
		return err
	}
	if theirs.What != "" && ours.What != "" && theirs.What != ours.What {
		return fmt.Errorf("%w: it is about %q, and this process is %q", ErrOther, theirs.What, ours.What)
	}
	return nil
}

// lacking returns an error for the first name in want that have lacks.
func lacking(kind string, want, have []string) error {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return fmt.Errorf("%w: %s %q", ErrUnknown, kind, w)
		}
	}
	return nil
}

// sameUser is the rule for a hand-off, stricter than SameUser because the descriptors of all
// connections are passed.
func sameUser(c Cred) error {
	if c.UID != os.Geteuid() {
		return fmt.Errorf("%w: its process (%v) is not of user %d: %w", ErrForbidden, c, os.Geteuid(), syscall.EPERM)
	}
	return nil
}
