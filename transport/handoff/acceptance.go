package handoff

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
)

// An Acceptance is the new owner's side of a hand-off. Fields must not be changed once it is in
// use.
type Acceptance struct {
	// Terms are told at hello.
	Terms Terms
	// Prepare builds, without any visible effect, what can be built of static, which the old owner
	// sends while it still runs; static is nil if there is none. Optional; nil: static is ignored.
	Prepare func(ctx context.Context, static []byte) error
	// Stage makes ready what has been handed over, and touches nothing: no read, no write, no
	// option that another process could notice. Mandatory. Stage owns the descriptors from the call
	// on, and closes them if it fails. It owns the state as well, but Take zeroes the state once it
	// is certain that this process does not become the owner.
	Stage func(ctx context.Context, state []byte, descriptors []int) (Staged, error)
	// Deadlines bound the steps.
	Deadlines Deadlines
}

// A Staged is what Stage has made ready. Exactly one of its methods is called: Start once this
// process is the owner, or Discard, which must not send a byte to any peer, if it does not become
// the owner. Start's ctx ends with Deadlines.Take.
type Staged interface {
	// Start continues the service in this process. Take returns Start's error, and the old owner's
	// Give a *StartError with its text, but this process is the owner all the same.
	Start(ctx context.Context) error
	// Discard gives up what was staged: the old owner keeps it. Take returns Discard's error joined
	// to the one that made it necessary.
	Discard() error
}

// Taken says what has become of an Acceptance.
type Taken struct {
	Owns bool // this process is the owner; else it owns nothing
}

// Take takes over what the other end of the channel offers. Whatever the error, Taken.Owns tells
// whether this process is the owner now and Start has been called. If it is, an error says that
// Start has failed, or that the old owner did not say goodbye, which has no consequence. If it is
// not, the error says why, and this process owns nothing. Once this process is the owner, the end
// of ctx changes nothing. Take does not close the channel.
func (a *Acceptance) Take(ctx context.Context, ch *Channel) (Taken, error) {
	t := &taking{exchange: exchange{ch: ch, side: newOwner, reached: handoffpoint.Of(ctx), d: a.Deadlines.complete()}, a: a}
	err := t.take(ctx)
	if !t.owns {
		clear(t.state)
		t.refuse(err)
	}
	return Taken{t.owns}, err
}

// taking is one hand-off, as the new owner sees it.
type taking struct {
	exchange
	a     *Acceptance
	terms Terms  // a.Terms, with the defaults filled in
	state []byte // as received; there may be keys in it
}

// take runs the whole hand-off. Until the token is read, each step either leads to the next one or
// fails and keeps nothing.
func (t *taking) take(ctx context.Context) error {
	if t.a.Stage == nil { // fail before the old owner stops anything
		return t.fail(stepHello, errors.New("mandatory field Acceptance.Stage is nil"))
	}
	t.pass(handoffpoint.HeirConnected)
	if err := t.hello(ctx); err != nil {
		return t.fail(stepHello, err)
	}
	t.pass(handoffpoint.HeirGreeted)
	if err := t.static(ctx); err != nil {
		return t.fail(stepStatic, err)
	}
	t.pass(handoffpoint.HeirPrepared)
	staged, token, step, err := t.stage(ctx)
	if err != nil {
		return t.fail(step, err)
	}
	t.pass(handoffpoint.HeirStaged)
	if err := t.wait(ctx, token); err != nil {
		return t.fail(stepCommit, errors.Join(err, token.Close(), staged.Discard()))
	}
	t.owns = true
	t.pass(handoffpoint.HeirOwns)
	_ = token.Close()
	ctx = context.WithoutCancel(ctx) // there is no way back, and the old owner waits for kindDone
	if err := t.start(ctx, staged); err != nil {
		told := appendRefusal(nil, StepTake, err)
		return errors.Join(t.fail(StepTake, err), t.part(ctx, told))
	}
	t.pass(handoffpoint.HeirStarted)
	return t.part(ctx, nil)
}

func (t *taking) start(ctx context.Context, s Staged) error {
	ctx, cancel := context.WithTimeout(ctx, t.d.Take)
	defer cancel()
	return s.Start(ctx)
}

// hello finds out whether the two processes can do the hand-off at all.
func (t *taking) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.d.Hello)
	defer cancel()
	ours := t.a.Terms
	ours.Descriptors = descriptorLimit(ours.Descriptors)
	if ours.StateBytes <= 0 {
		ours.StateBytes = defaultMaxState
	}
	if system.MemoryFiles {
		ours.Know = append(slices.Clone(ours.Know), featureMemoryFile)
	}
	t.terms = ours
	if err := t.send(ctx, kindHello, appendHello(nil, hello{minVersion, maxVersion, os.Getpid(), ours})); err != nil {
		return err
	}
	m, err := t.receive(ctx, kindHello)
	if err != nil {
		return err
	}
	theirs, err := parseHello(m.body)
	if err != nil {
		return err
	}
	t.ch.note(theirs.pid)
	if err := checkHello(theirs, ours); err != nil {
		return err
	}
	if err := lacking("plug-in", theirs.Plugins, ours.Plugins); err != nil {
		return err
	}
	return t.send(ctx, kindReady, nil)
}

// static builds what can be built while the old owner still runs.
func (t *taking) static(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.d.Static)
	defer cancel()
	p, err := t.gather(ctx, kindStatic, t.terms.StateBytes, handoffpoint.HeirStaticHalf)
	if err != nil {
		return err
	}
	if t.a.Prepare != nil {
		if err := t.a.Prepare(ctx, p); err != nil {
			return err
		}
	}
	return t.send(ctx, kindPrepared, nil)
}

// stage receives everything, stages it and sends kindAccept. token is the read end of the pipe.
func (t *taking) stage(ctx context.Context) (_ Staged, token *os.File, step string, err error) {
	set := &FDSet{wary: true}
	defer func() {
		if e := set.Close(); e != nil && err == nil {
			err = e
		}
	}()
	pipe, step, err := t.offered(ctx, set)
	if err != nil {
		return nil, nil, step, err
	}
	if token, err = tokenReader(pipe); err != nil {
		return nil, nil, stepOffer, err
	}
	t.pass(handoffpoint.HeirOffered)
	staging, cancel := context.WithTimeout(ctx, t.d.Stage)
	defer cancel()
	fds := set.StealAll()
	s, err := t.a.Stage(staging, t.state, fds)
	if err == nil && s == nil {
		err = errors.New("Acceptance.Stage gave nothing, and no error")
	}
	if err != nil {
		return nil, nil, stepStage, errors.Join(err, token.Close())
	}
	if err = t.send(staging, kindAccept, appendAccept(nil, sha256.Sum256(t.state), len(fds))); err != nil {
		return nil, nil, stepAccept, errors.Join(err, token.Close(), s.Discard())
	}
	return s, token, stepAccept, nil
}

// offered receives the descriptors, which go into set, the state, and at last the read end of the
// pipe, which is returned in pipe.
func (t *taking) offered(ctx context.Context, set *FDSet) (pipe *FDSet, step string, err error) {
	freezing, cancel := context.WithTimeout(ctx, t.d.Freeze+t.d.Offer)
	defer cancel()
	beside := &FDSet{wary: true}
	defer func() {
		if err != nil {
			_ = beside.Close()
		}
	}()
	m, err := t.next(freezing, set, beside)
	if err != nil {
		return nil, stepFreeze, err
	}
	offering, cancel := context.WithTimeout(ctx, t.d.Offer)
	defer cancel()
	for ; ; m, err = t.next(offering, set, beside) {
		if err != nil {
			return nil, stepOffer, err
		}
		switch m.kind {
		case kindDescriptors:
			if set.Len() == m.count {
				t.pass(handoffpoint.HeirDescriptorsHalf)
			}
			if err := t.send(offering, kindReceived, appendCounts(nil, set.Len(), 0)); err != nil {
				return nil, stepOffer, err
			}
			continue
		case kindStateFile:
			t.state, err = sealedState(beside, m.total, t.terms.StateBytes)
		case kindState:
			t.pass(handoffpoint.HeirDescriptorsAll)
			t.state, err = t.gatherFrom(offering, m, kindState, t.terms.StateBytes, handoffpoint.HeirStateHalf)
		default:
			err = fault.Malformed("message %d in place of the state", m.kind)
		}
		if err != nil {
			return nil, stepOffer, err
		}
		break
	}
	t.pass(handoffpoint.HeirStateAll)
	if m, err = t.next(offering, set, beside); err == nil && m.kind != kindOffer {
		err = fault.Malformed("message %d in place of the offer", m.kind)
	}
	if err == nil && (m.first != set.Len() || m.total != len(t.state)) {
		err = fault.Malformed("an offer of %d descriptors and %d bytes, of which %d and %d came", m.first, m.total, set.Len(), len(t.state))
	}
	return beside, stepOffer, err
}

// next receives a message of the offer. Descriptors that are handed over go into set; those of a
// memory file or of the pipe go into beside.
func (t *taking) next(ctx context.Context, set, beside *FDSet) (m offerMessage, err error) {
	came := &FDSet{wary: true}
	packet, err := t.receiveAny(ctx, came, MaxDescriptors)
	if err != nil {
		return m, errors.Join(err, came.Close())
	}
	if m, err = parseOffer(packet); err == nil {
		switch {
		case m.kind == kindDescriptors && (m.count != came.Len() || m.first != set.Len() || m.count == 0):
			err = fault.Malformed("%d descriptors from %d on were announced, and %d came, after %d", m.count, m.first, came.Len(), set.Len())
		case m.kind == kindDescriptors && set.Len()+came.Len() > t.terms.Descriptors:
			err = fmt.Errorf("%w: more than %d descriptors", ErrLimit, t.terms.Descriptors)
		case m.kind != kindDescriptors && came.Len() != m.attached():
			err = fault.Malformed("%d descriptors with a message that has %d", came.Len(), m.attached())
		}
	}
	if err != nil {
		return m, errors.Join(err, came.Close())
	}
	into := beside
	if m.kind == kindDescriptors {
		into = set
	}
	into.take(came.StealAll())
	return m, nil
}

// wait waits for the token. Reading it is what makes this process the owner.
func (t *taking) wait(ctx context.Context, token *os.File) error {
	t.pass(handoffpoint.HeirWaits)
	defer context.AfterFunc(ctx, func() { _ = token.SetReadDeadline(time.Unix(1, 0)) })()
	if err := token.SetReadDeadline(time.Now().Add(t.d.Take)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var b [1]byte
	n, err := token.Read(b[:])
	switch {
	case n == 1:
		return nil
	case errors.Is(err, io.EOF):
		return t.whyNot(ctx)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the old process has not written the token within %v (Deadlines.Take): %w", t.d.Take, err)
	}
	return err
}

// whyNot returns why there will be no token: the old owner may have sent a refusal.
func (t *taking) whyNot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := t.receiveAny(ctx, nil, 0)
	var refused *RefusedError
	if errors.As(err, &refused) {
		return err
	}
	return fmt.Errorf("%w: the pipe was closed without it", ErrNotTaken)
}

// part tells the old owner that this process runs, or why Start has failed, and waits for its
// goodbye.
func (t *taking) part(ctx context.Context, said []byte) error {
	ctx, cancel := context.WithTimeout(ctx, t.d.Goodbye)
	defer cancel()
	err := t.send(ctx, kindDone, said)
	t.pass(handoffpoint.HeirSaid)
	if err == nil {
		_, err = t.receive(ctx, kindGoodbye)
	}
	t.pass(handoffpoint.HeirParted)
	if err != nil {
		return t.fail(stepRelease, err)
	}
	return nil
}
