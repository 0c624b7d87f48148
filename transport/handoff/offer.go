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
)

// An Offer is the old owner's side of a hand-off: what there is to hand over, and how. The other side is an Acceptance. Fields must not be
// changed once it is in use. One hand-off at a time goes on; whoever else asks meanwhile is refused with ErrBusy.
type Offer struct {
	// Terms are told at hello.
	Terms Terms
	// Count tells at hello how many descriptors the new owner needs by now, at least, and takes the place of Terms.Descriptors: if it does
	// not take as many, nothing stops. What is made of a descriptor there may need more than that one: a transport.Stream waits by another.
	// Optional.
	Count func() int
	// Plugins tells at hello which plug-ins what is handed over needs by now, beside Terms.Plugins: a new owner that lacks one refuses, and
	// nothing stops. Optional.
	Plugins func() []string
	// Needs tells at hello which features what is handed over needs as it is now, beside Terms.Require: a new owner that does not know one of
	// them refuses, and nothing stops. Optional.
	Needs func() []string
	// Static gives what the new owner may build while the old one still runs. Optional; nil: nothing.
	Static func(ctx context.Context) ([]byte, error)
	// Freeze stops what is to be handed over, or fails and leaves it running. Mandatory. ctx ends with Deadlines.Freeze.
	Freeze func(ctx context.Context) (Frozen, error)
	// Deadlines bound the steps.
	Deadlines Deadlines
	// Reached hears of each point that is passed, on the goroutine of Give: for logs and tests. Optional.
	Reached func(Point)

	busy atomic.Bool
}

// A Frozen stands still until Thaw, after which it goes on as if nothing had happened, or Release, which gives it up without a byte to
// anybody: exactly one of the two is called. Descriptors stay its own.
type Frozen interface {
	// State is what the new owner needs beside the descriptors.
	State() []byte
	// Descriptors are those that are sent, in the order that the state relies on.
	Descriptors() []int
	// Thaw lets it go on here.
	Thaw()
	// Release gives it up: the new owner has it, whatever the error, which Give returns.
	Release() error
}

// Handed says what has become of an Offer.
type Handed struct {
	Moved   bool          // the new owner has it; else it goes on here
	Peer    Cred          // the new owner's process
	Silence time.Duration // how long nobody served: from the beginning of Freeze to the new owner's word, the end of waiting for it, or Thaw
}

// Give hands over, and returns when the new owner has everything, or when nothing has changed. Handed.Moved tells which, whatever the
// error: where it is false the owner serves on, and the error is a *HandoffError that says why; where it is true it may still be that the
// new owner has died, or that Release complained. Give closes nothing of the channel's.
func (o *Offer) Give(ctx context.Context, ch *Channel) (Handed, error) {
	g := &giving{exchange: exchange{ch: ch, side: OldOwner, reached: o.Reached, d: o.Deadlines.complete()}, o: o}
	if o.Freeze == nil { // before anybody waits
		return g.kept(g.fail(StepHello, errors.New("mandatory field Offer.Freeze is nil")))
	}
	if !o.busy.CompareAndSwap(false, true) {
		err := g.fail(StepHello, ErrBusy)
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

// give is the whole of it: each step either leads to the next one or ends with everything as it was, until the token is out.
func (g *giving) give(ctx context.Context) (Handed, error) {
	g.pass(OwnerConnected)
	if err := g.hello(ctx); err != nil {
		return g.kept(g.fail(StepHello, err))
	}
	g.pass(OwnerGreeted)
	if err := g.static(ctx); err != nil {
		return g.kept(g.fail(StepStatic, err))
	}
	g.pass(OwnerFreezes)
	g.began = time.Now()
	f, err := g.freeze(ctx)
	if err != nil {
		return g.kept(g.fail(StepFreeze, err))
	}
	g.pass(OwnerFrozen)
	sum, err := g.offer(ctx, f)
	if err != nil {
		err = g.fail(StepOffer, err)
	} else if err = g.accepted(ctx, sum, len(f.Descriptors())); err != nil {
		err = g.fail(StepAccept, err)
	} else {
		g.pass(OwnerAccepted)
		if err = g.token.write(); err != nil {
			err = g.fail(StepCommit, err)
		}
	}
	if err != nil {
		f.Thaw()
		if g.token != nil {
			err = errors.Join(err, g.token.close())
		}
		return g.kept(err)
	}
	g.pass(OwnerCommitted)
	return g.taken(ctx, f)
}

// kept is the outcome where nothing has changed hands.
func (g *giving) kept(err error) (Handed, error) {
	g.refuse(err)
	h := Handed{Peer: g.ch.peer}
	if !g.began.IsZero() {
		h.Silence = time.Since(g.began)
	}
	return h, err
}

// hello finds out whether the two can do it at all. Nothing has stopped yet.
func (g *giving) hello(caller context.Context) error {
	ctx, cancel := context.WithTimeout(caller, g.d.Hello)
	defer cancel()
	m, err := g.receive(ctx, kindHello)
	if errors.Is(err, context.DeadlineExceeded) && caller.Err() == nil { // it is still starting, most likely
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
	if g.o.Needs != nil {
		ours.Require = slices.Concat(ours.Require, g.o.Needs())
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

// static sends what may be built beforehand, and waits until it is.
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
	if err := g.chunks(ctx, kindStatic, p, OwnerStaticHalf); err != nil {
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

// offer sends descriptors, state, and the end of the pipe.
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
			g.pass(OwnerDescriptorsHalf)
		}
		m, err := g.receive(ctx, kindReceived) // so that no more than these are in flight: the system has a limit for a user
		if err != nil {
			return sum, err
		}
		got, err := parseOffer(m)
		if err == nil && got.first != at+len(part) {
			err = malformed("%d descriptors are there, of %d that were sent", got.first, at+len(part))
		}
		if err != nil {
			return sum, err
		}
	}
	g.pass(OwnerDescriptorsSent)
	if err := g.state(ctx, state); err != nil {
		return sum, err
	}
	g.pass(OwnerStateSent)
	if g.token, err = newToken(); err != nil {
		return sum, err
	}
	body := appendCounts(nil, len(fds), len(state))
	err = Lend(func(fds []int) error { return g.send(ctx, kindOffer, body, fds...) }, g.token.r)
	return sha256.Sum256(state), err
}

// state goes in a memory file where it is long and one is to be had, else in pieces. A filter of system calls, or a want of descriptors, is
// no reason to stay.
func (g *giving) state(ctx context.Context, p []byte) error {
	if len(p) > longState && slices.Contains(g.limit.Know, featureMemoryFile) {
		fd, err := sealedFile(stateName, p)
		if err == nil {
			err = g.send(ctx, kindStateFile, appendCounts(nil, 0, len(p)), fd)
			return errors.Join(err, closeFD(fd))
		}
	}
	return g.chunks(ctx, kindState, p, OwnerStateHalf)
}

// accepted waits until the other one has staged everything, and compares.
func (g *giving) accepted(ctx context.Context, sum [sha256.Size]byte, descriptors int) error {
	ctx, cancel := context.WithTimeout(ctx, g.d.Stage)
	defer cancel()
	g.pass(OwnerOffered)
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

// taken waits for the other one's word. It is only a word: whether the token has been read says who owns.
func (g *giving) taken(ctx context.Context, f Frozen) (Handed, error) {
	waiting, cancel := context.WithTimeout(ctx, g.d.Take)
	_, err := g.receive(waiting, kindDone)
	cancel()
	back, e := g.token.takeBack()
	if e != nil { // cannot be on a pipe of one's own; nobody may own twice
		err = errors.Join(err, e)
	}
	if back && err == nil {
		err = malformed("the new process reports that it runs, and has not read the token")
	}
	e = g.token.close()
	h := Handed{Moved: !back, Peer: g.ch.peer, Silence: time.Since(g.began)}
	if back {
		f.Thaw()
		err = fmt.Errorf("%w: the new process did not read the token, which has been taken back: %w", ErrNotTaken, err)
		err = g.fail(StepCommit, errors.Join(err, e))
		g.refuse(err)
		return h, err
	}
	g.pass(OwnerHeard)
	if err != nil {
		err = g.fail(StepTake, fmt.Errorf("the new process has read the token, but has not reported that it runs: %w", err))
	}
	if e := errors.Join(e, f.Release()); e != nil {
		err = errors.Join(err, g.fail(StepRelease, e))
	}
	g.pass(OwnerReleased)
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.d.Goodbye)
	defer cancel()
	_ = g.send(bye, kindGoodbye, nil) // it may be gone, and needs none
	g.pass(OwnerLeaves)
	return h, err
}

// Deadlines bound the steps of a hand-off, on either side. 0 is the default; no step is without one. What is frozen is silent for Freeze,
// Offer, Stage and twice Take at most: a token that is read at the end of the old owner's Take leaves the new one its own to start. A new
// program that hangs costs Stage as a rule, which by default leaves some of the 5 s that callers of an Erlang node mostly wait.
type Deadlines struct {
	Hello   time.Duration // the other's words of greeting: 5 s
	Static  time.Duration // what is sent while the owner runs, and what the new one does with it: 30 s
	Freeze  time.Duration // old owner: Freeze; new one: how long it waits for the first of what is offered: 15 s
	Offer   time.Duration // descriptors and state: 5 s
	Stage   time.Duration // what the new owner makes of them: 3 s
	Take    time.Duration // old owner: how long the token may lie unread, and done unsaid; new one: to wait for the token, and to start: 5 s
	Goodbye time.Duration // new owner: for the old one's Release; old one: to say so: 5 s
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

// checkHello checks what holds for both sides: the version, the features, and what it is about.
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

// lacking finds what is wanted and not there.
func lacking(kind string, want, have []string) error {
	for _, w := range want {
		if !slices.Contains(have, w) {
			return fmt.Errorf("%w: %s %q", ErrUnknown, kind, w)
		}
	}
	return nil
}

// sameUser is the rule for a hand-off: descriptors of every connection go over.
func sameUser(c Cred) error {
	if c.UID != os.Geteuid() {
		return fmt.Errorf("%w: its process (%v) is not of user %d: %w", ErrForbidden, c, os.Geteuid(), syscall.EPERM)
	}
	return nil
}
