//go:build unix

package handoff

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/expect"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
	"github.com/cnode-go/cnode/transport/handoff/internal/system"
)

// A thing is what the tests hand over inside one process: some pipes.
type thing struct {
	files              []*os.File
	fds                []int
	blob               []byte
	thawed, released   int
	started, discarded int
	got                []byte
	stageErr, startErr error
	releaseErr         error
	startHook          func(context.Context)
}

func newThing(t testing.TB, descriptors, bytes int) *thing {
	t.Helper()
	x := &thing{blob: make([]byte, bytes)}
	for range descriptors {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		t.Cleanup(func() { r.Close() })
		require.NoError(t, w.Close())
		raw, err := r.SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) { x.fds = append(x.fds, int(fd)) }))
		x.files = append(x.files, r)
	}
	for i := range x.blob {
		x.blob[i] = byte(i * 7)
	}
	return x
}

func (x *thing) State() []byte      { return x.blob }
func (x *thing) Descriptors() []int { return x.fds }
func (x *thing) Thaw()              { x.thawed++ }
func (x *thing) Release() error     { x.released++; return x.releaseErr }

func (x *thing) Discard() error { x.discarded++; return nil }
func (x *thing) Start(ctx context.Context) error {
	x.started++
	if x.startHook != nil {
		x.startHook(ctx)
	}
	return x.startErr
}

func (x *thing) offer() *Offer {
	return &Offer{Freeze: func(context.Context) (Frozen, error) { return x, nil }}
}

func (x *thing) acceptance() *Acceptance {
	return &Acceptance{Stage: func(_ context.Context, state []byte, fds []int) (Staged, error) {
		x.got = slices.Clone(state)
		if err := closeAll(fds); err != nil {
			return nil, err
		}
		if len(fds) != len(x.fds) {
			return nil, errors.New("descriptors are missing")
		}
		return x, x.stageErr
	}}
}

// channels makes both ends of a channel.
func channels(t testing.TB) (one, other *Channel) {
	t.Helper()
	fdtest.NoLeak(t)
	one, f, err := ChannelPair()
	require.NoError(t, err)
	t.Cleanup(func() { one.Close() })
	other, err = FileChannel(f)
	require.NoError(t, err)
	t.Cleanup(func() { other.Close() })
	return one, other
}

// exchanged runs both sides.
func exchanged(t testing.TB, o *Offer, a *Acceptance) (h Handed, gave, took error) {
	t.Helper()
	one, other := channels(t)
	done := make(chan struct{})
	go func() { defer close(done); h, gave = o.Give(fdtest.Soon(t), one) }()
	taken, took := a.Take(fdtest.Soon(t), other)
	owns := took == nil
	if took != nil {
		var e *Error
		require.ErrorAs(t, took, &e)
		require.Equal(t, NewOwner, e.Side)
		owns = e.Owns
	}
	require.Equal(t, owns, taken.Owns)
	<-done
	if gave != nil {
		var e *Error
		require.ErrorAs(t, gave, &e)
		require.Equal(t, OldOwner, e.Side)
		require.Equal(t, os.Getpid(), e.Peer.PID)
	}
	return h, gave, took
}

func TestGiveAndTake(t *testing.T) {
	for _, tt := range []struct{ descriptors, bytes int }{{0, 0}, {1, 10}, {200, chunkSize}, {201, chunkSize + 1}, {401, longState + 1}} {
		need.Descriptors(t, uint64(200+4*tt.descriptors))
		x := newThing(t, tt.descriptors, tt.bytes)
		o, a := x.offer(), x.acceptance()
		o.Terms.What, a.Terms.What = "one", "one"
		o.Static = func(context.Context) ([]byte, error) { return bytes.Repeat([]byte("s"), tt.bytes), nil }
		var prepared []byte
		a.Prepare = func(_ context.Context, static []byte) error { prepared = static; return nil }
		h, gave, took := exchanged(t, o, a)
		require.NoError(t, gave)
		require.NoError(t, took)
		require.True(t, h.Moved)
		require.Len(t, prepared, tt.bytes)
		require.True(t, bytes.Equal(x.blob, x.got))
		require.Equal(t, []int{0, 1, 1, 0}, []int{x.thawed, x.released, x.started, x.discarded})
	}
}

// A limit is the most that is taken: what is exactly as long, or as many, moves.
func TestExactlyTheLimitMoves(t *testing.T) {
	for _, bytes := range []int{100, longState, longState + 1} {
		x := newThing(t, 3, bytes)
		o, a := x.offer(), x.acceptance()
		o.Terms.Descriptors, a.Terms.Descriptors, a.Terms.StateBytes = len(x.fds), len(x.fds), len(x.blob)
		o.Static = func(context.Context) ([]byte, error) { return x.blob, nil }
		h, gave, took := exchanged(t, o, a)
		require.NoError(t, gave)
		require.NoError(t, took)
		require.True(t, h.Moved)
	}
}

// What is required of the other side, and known there, does not prevent the hand-off, nor does what
// only one side names or knows.
func TestTermsThatAreMet(t *testing.T) {
	for _, tt := range []struct{ ours, theirs Terms }{
		{Terms{Plugins: []string{"tcp"}, Require: []string{"a"}, Know: []string{"b", "c"}},
			Terms{Plugins: []string{"unix", "rot13", "tcp"}, Require: []string{"b"}, Know: []string{"d", "a", "e"}}},
		{Terms{What: "one"}, Terms{Plugins: []string{"tcp"}}},
		{Terms{Know: []string{"b"}}, Terms{What: "one"}},
	} {
		x := newThing(t, 1, 1)
		o, a := x.offer(), x.acceptance()
		o.Terms, a.Terms = tt.ours, tt.theirs
		if len(tt.ours.Plugins) > 0 {
			o.Plugins = func() []string { return []string{"rot13"} }
		}
		h, gave, took := exchanged(t, o, a)
		require.NoError(t, gave)
		require.NoError(t, took)
		require.True(t, h.Moved)
	}
}

// Every refusal is reported with a reason on both sides, and leaves everything as it was; what can
// be checked beforehand is refused before anything is frozen.
func TestOfferRefusedOnBothSides(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name   string
		change func(x *thing, o *Offer, a *Acceptance)
		step   Step
		is     error
		frozen bool
	}{
		{"plug-in", func(_ *thing, o *Offer, a *Acceptance) {
			o.Terms.Plugins, a.Terms.Plugins = []string{"tcp", "rot13"}, []string{"tcp"}
		}, StepHello, ErrUnknown, false},
		{"plug-in by now", func(_ *thing, o *Offer, a *Acceptance) {
			o.Terms.Plugins, a.Terms.Plugins = []string{"tcp"}, []string{"tcp"}
			o.Plugins = func() []string { return []string{"rot13"} }
		}, StepHello, ErrUnknown, false},
		{"feature of the owner", func(_ *thing, o *Offer, a *Acceptance) { o.Terms.Require, a.Terms.Know = []string{"b"}, []string{"a"} },
			StepHello, ErrUnknown, false},
		{"feature of the heir", func(_ *thing, o *Offer, a *Acceptance) { a.Terms.Require, o.Terms.Know = []string{"b"}, []string{"a"} },
			StepHello, ErrUnknown, false},
		{"another one", func(_ *thing, o *Offer, a *Acceptance) { o.Terms.What, a.Terms.What = "one", "other" }, StepHello, ErrOther, false},
		{"too many expected", func(_ *thing, o *Offer, a *Acceptance) { o.Terms.Descriptors, a.Terms.Descriptors = 10, 9 },
			StepHello, ErrLimit, false},
		{"too many by now", func(x *thing, o *Offer, a *Acceptance) {
			o.Count, a.Terms.Descriptors = func() int { return len(x.fds) }, 2
		}, StepHello, ErrLimit, false},
		{"too many", func(_ *thing, o *Offer, a *Acceptance) { a.Terms.Descriptors = 2 }, StepOffer, ErrLimit, true},
		{"too long", func(_ *thing, o *Offer, a *Acceptance) { a.Terms.StateBytes = 2 }, StepOffer, ErrLimit, true},
		{"too long beforehand", func(_ *thing, o *Offer, a *Acceptance) {
			o.Static = func(context.Context) ([]byte, error) { return make([]byte, 1000), nil }
			a.Terms.StateBytes = 999
		}, StepStatic, ErrLimit, false},
		{"no static state", func(_ *thing, o *Offer, _ *Acceptance) {
			o.Static = func(context.Context) ([]byte, error) { return nil, ErrOther }
		}, StepStatic, ErrOther, false},
		{"not prepared", func(_ *thing, _ *Offer, a *Acceptance) {
			a.Prepare = func(context.Context, []byte) error { return ErrOther }
		}, StepStatic, ErrOther, false},
		{"not frozen", func(_ *thing, o *Offer, _ *Acceptance) {
			o.Freeze = func(context.Context) (Frozen, error) { return nil, ErrBusy }
		}, StepFreeze, ErrBusy, false},
		{"not staged", func(x *thing, _ *Offer, _ *Acceptance) { x.stageErr = errors.Join(broken, ErrLimit) }, StepAccept, ErrLimit, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newThing(t, 3, 100)
			o, a := x.offer(), x.acceptance()
			tt.change(x, o, a)
			h, gave, took := exchanged(t, o, a)
			require.False(t, h.Moved)
			require.ErrorIs(t, gave, tt.is)
			require.ErrorIs(t, took, tt.is)
			var e *Error
			require.ErrorAs(t, gave, &e)
			require.Equal(t, tt.step, e.Step)
			thawed := 0
			if tt.frozen {
				thawed = 1
			}
			require.Equal(t, []int{thawed, 0, 0, 0}, []int{x.thawed, x.released, x.started, x.discarded})
		})
	}
}

// A missing mandatory field is reported by its own side, at once and before anything is frozen; the
// other side is told.
func TestMandatoryFields(t *testing.T) {
	told := func(err error) {
		var refused *RefusedError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, StepHello, refused.Step)
		require.Contains(t, refused.Reason, "is nil")
	}
	missing := func(err error, side Side, field string) {
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, []any{side, StepHello}, []any{e.Side, e.Step})
		require.EqualError(t, e.Err, "mandatory field "+field+" is nil")
	}
	x := newThing(t, 1, 1)

	one, other := channels(t)
	h, err := (&Offer{}).Give(fdtest.Soon(t), one) // the other end is not used yet
	missing(err, OldOwner, "Offer.Freeze")
	require.Zero(t, h.Silence)
	require.False(t, h.Moved)
	taken, err := x.acceptance().Take(fdtest.Soon(t), other)
	require.False(t, taken.Owns)
	told(err)

	one, other = channels(t)
	taken, err = (&Acceptance{}).Take(fdtest.Soon(t), other)
	missing(err, NewOwner, "Acceptance.Stage")
	require.False(t, taken.Owns)
	h, err = x.offer().Give(fdtest.Soon(t), one)
	require.False(t, h.Moved)
	told(err)
	require.Zero(t, x.thawed, "it was frozen")
}

// A callback that returns neither a value nor an error is an error, and nothing moves.
func TestOfferOfNothingMovesNothing(t *testing.T) {
	x := newThing(t, 1, 1)
	o := x.offer()
	o.Freeze = func(context.Context) (Frozen, error) { return nil, nil }
	h, gave, _ := exchanged(t, o, x.acceptance())
	require.False(t, h.Moved)
	require.ErrorContains(t, gave, "Offer.Freeze gave nothing")

	x = newThing(t, 1, 1)
	a := x.acceptance()
	a.Stage = func(_ context.Context, _ []byte, fds []int) (Staged, error) {
		for _, fd := range fds {
			require.NoError(t, system.Close(fd))
		}
		return nil, nil
	}
	h, _, took := exchanged(t, x.offer(), a)
	require.False(t, h.Moved)
	require.ErrorContains(t, took, "Acceptance.Stage gave nothing")
	require.Equal(t, 1, x.thawed)
}

// A new owner whose Start fails is the owner all the same.
func TestAcceptanceStandsThoughStartFails(t *testing.T) {
	x := newThing(t, 1, 1)
	x.startErr = errors.New("no name server")
	h, gave, took := exchanged(t, x.offer(), x.acceptance())
	require.True(t, h.Moved)
	var e *Error
	require.ErrorAs(t, took, &e)
	require.True(t, e.Owns)
	require.ErrorIs(t, took, x.startErr)
	require.Equal(t, 1, x.released)
	var failed *StartError
	require.ErrorAs(t, gave, &failed, "the old owner is told")
	require.Equal(t, "no name server", failed.Reason)
	require.ErrorAs(t, gave, &e)
	require.Equal(t, StepTake, e.Step)
}

// The reason of a Start that has failed reaches the old owner however long it is, and with the
// errors that it is known by; an old owner of an earlier version takes no notice of it.
func TestStartFailureIsTold(t *testing.T) {
	for _, tt := range []struct {
		err, is error
	}{
		{errors.New(strings.Repeat("ä", chunkSize)), nil},
		{fmt.Errorf("port mapper: %w", ErrForbidden), ErrForbidden},
		{errors.New(""), nil},
	} {
		x := newThing(t, 1, 1)
		x.startErr = tt.err
		h, gave, _ := exchanged(t, x.offer(), x.acceptance())
		require.True(t, h.Moved)
		var failed *StartError
		require.ErrorAs(t, gave, &failed)
		require.True(t, strings.HasPrefix(tt.err.Error(), failed.Reason))
		require.Equal(t, tt.is, failed.Err)
		require.Equal(t, []int{0, 1, 1, 0}, []int{x.thawed, x.released, x.started, x.discarded})
	}
	require.ErrorIs(t, parseDone([]byte{0xff}), ErrMalformed)
	require.NoError(t, parseDone(nil))
}

// An old owner whose Release fails says so, and has handed over all the same.
func TestReleaseThatFailsIsReported(t *testing.T) {
	x := newThing(t, 1, 1)
	x.releaseErr = errors.New("no room on the disk")
	h, gave, took := exchanged(t, x.offer(), x.acceptance())
	require.NoError(t, took)
	require.True(t, h.Moved)
	require.ErrorIs(t, gave, x.releaseErr)
	var e *Error
	require.ErrorAs(t, gave, &e)
	require.Equal(t, StepRelease, e.Step)
	require.Equal(t, []int{0, 1, 1, 0}, []int{x.thawed, x.released, x.started, x.discarded})
}

// A new owner that hears no goodbye says so, and is the owner.
func TestNoGoodbyeIsReported(t *testing.T) {
	x := newThing(t, 1, 1)
	one, other := channels(t)
	o := x.offer()
	owner := func(p handoffpoint.Point) {
		if p == handoffpoint.OwnerReleased {
			require.NoError(t, one.Close())
		}
	}
	done := make(chan error, 1)
	go func() { _, err := o.Give(handoffpoint.With(fdtest.Soon(t), owner), one); done <- err }()
	taken, err := x.acceptance().Take(fdtest.Soon(t), other)
	require.True(t, taken.Owns)
	require.ErrorIs(t, err, ErrLeft)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, StepRelease, e.Step)
	require.NoError(t, <-done)
	require.Equal(t, []int{0, 1, 1, 0}, []int{x.thawed, x.released, x.started, x.discarded})
}

// A new owner whose context ends before the token is there does not become the owner: it discards
// what it staged, the state is zeroed, and the old owner takes the token back.
func TestPatienceEndsBeforeTheToken(t *testing.T) {
	for _, waits := range []bool{false, true} {
		x := newThing(t, 1, 10)
		one, other := channels(t)
		ctx, cancel := context.WithCancel(fdtest.Soon(t))
		defer cancel()
		o, a := x.offer(), x.acceptance()
		a.Deadlines.Take = time.Hour
		stage, left, ready := a.Stage, make(chan struct{}), make(chan struct{})
		var state []byte
		a.Stage = func(ctx context.Context, p []byte, fds []int) (Staged, error) { state = p; return stage(ctx, p, fds) }
		heir := func(p handoffpoint.Point) {
			if p == handoffpoint.HeirWaits {
				close(ready)
				if !waits {
					cancel()
				}
			}
		}
		owner := func(p handoffpoint.Point) {
			if p == handoffpoint.OwnerAccepted {
				<-ready
				cancel()
				select {
				case <-left:
				case <-fdtest.Soon(t).Done():
				}
			}
		}
		var h Handed
		done := make(chan error, 1)
		go func() { var err error; h, err = o.Give(handoffpoint.With(fdtest.Soon(t), owner), one); done <- err }()
		taken, err := a.Take(handoffpoint.With(ctx, heir), other)
		close(left)
		require.ErrorIs(t, err, context.Canceled)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, StepCommit, e.Step)
		require.False(t, taken.Owns)
		require.Equal(t, make([]byte, 10), state)
		gave := <-done
		require.ErrorIs(t, gave, ErrNotTaken)
		var refused *RefusedError
		require.ErrorAs(t, gave, &refused)
		require.False(t, h.Moved)
		require.Equal(t, []int{1, 0, 0, 1}, []int{x.thawed, x.released, x.started, x.discarded})
	}
}

// A new owner that has staged and gets no token hears why.
func TestOwnerThatDoesNotWait(t *testing.T) {
	x := newThing(t, 1, 10)
	one, other := channels(t)
	ctx, cancel := context.WithCancel(fdtest.Soon(t))
	defer cancel()
	o, a := x.offer(), x.acceptance()
	owner := func(p handoffpoint.Point) {
		if p == handoffpoint.OwnerOffered {
			cancel()
		}
	}
	done := make(chan error, 1)
	go func() { _, err := o.Give(handoffpoint.With(ctx, owner), one); done <- err }()
	taken, err := a.Take(fdtest.Soon(t), other)
	require.False(t, taken.Owns)
	var refused *RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, StepAccept, refused.Step)
	require.ErrorIs(t, <-done, context.Canceled)
	require.Equal(t, []int{1, 0, 0, 1}, []int{x.thawed, x.released, x.started, x.discarded})
}

// A new owner whose context ends once the token is read starts all the same, and reports it.
func TestPatienceEndsWithTheToken(t *testing.T) {
	x := newThing(t, 1, 1)
	one, other := channels(t)
	ctx, cancel := context.WithCancel(fdtest.Soon(t))
	a := x.acceptance()
	x.startHook = func(ctx context.Context) {
		require.NoError(t, ctx.Err())
		_, bounded := ctx.Deadline()
		require.True(t, bounded)
	}
	heir := func(p handoffpoint.Point) {
		if p == handoffpoint.HeirOwns {
			cancel()
		}
	}
	done := make(chan error, 1)
	go func() { _, err := x.offer().Give(fdtest.Soon(t), one); done <- err }()
	_, err := a.Take(handoffpoint.With(ctx, heir), other)
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.Equal(t, []int{0, 1, 1, 0}, []int{x.thawed, x.released, x.started, x.discarded})
}

// An old owner whose context ends once the new one has reported that it runs hears the report;
// without a report it says that there is none.
func TestReportIsHeardThoughPatienceEnds(t *testing.T) {
	for _, reports := range []bool{true, false} {
		x := newThing(t, 1, 1)
		one, other := channels(t)
		ctx, cancel := context.WithCancel(fdtest.Soon(t))
		runs, heard := make(chan struct{}), make(chan struct{})
		o, a := x.offer(), x.acceptance()
		heir := func(p handoffpoint.Point) {
			switch {
			case p == handoffpoint.HeirSaid && reports:
				close(runs)
			case p == handoffpoint.HeirStarted && !reports:
				close(runs)
				<-heard
			}
		}
		owner := func(p handoffpoint.Point) {
			switch p {
			case handoffpoint.OwnerCommitted:
				<-runs
				cancel()
			case handoffpoint.OwnerHeard:
				close(heard)
			}
		}
		took := make(chan error, 1)
		go func() { _, err := a.Take(handoffpoint.With(fdtest.Soon(t), heir), other); took <- err }()
		h, err := o.Give(handoffpoint.With(ctx, owner), one)
		require.True(t, h.Moved)
		if reports {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorContains(t, err, "has not reported that it runs")
		}
		require.NoError(t, <-took)
		require.Equal(t, []int{0, 1, 1, 0}, []int{x.thawed, x.released, x.started, x.discarded})
	}
}

// A new owner that comes while another hand-off goes on is refused with ErrBusy.
func TestSecondOfferHearsBusy(t *testing.T) {
	x := newThing(t, 0, 0)
	o := x.offer()
	in, out := make(chan struct{}), make(chan struct{})
	o.Freeze = func(context.Context) (Frozen, error) { close(in); <-out; return x, nil }
	first, peer := channels(t)
	done := make(chan error, 2)
	go func() { _, err := o.Give(fdtest.Soon(t), first); done <- err }()
	go func() { _, err := x.acceptance().Take(fdtest.Soon(t), peer); done <- err }()
	<-in
	second, other := channels(t)
	h, err := o.Give(fdtest.Soon(t), second)
	require.ErrorIs(t, err, ErrBusy)
	require.False(t, h.Moved)
	_, err = x.acceptance().Take(fdtest.Soon(t), other)
	require.ErrorIs(t, err, ErrBusy)

	third, another := channels(t) // whose hello is not read any more
	require.NoError(t, another.conn.Send(fdtest.Soon(t), []byte{kindHello}))
	_, err = o.Give(fdtest.Soon(t), third)
	require.ErrorIs(t, err, ErrBusy)
	require.NoError(t, third.Close())
	again := exchange{ch: another}
	_, err = again.receiveAny(fdtest.Soon(t), nil, 0)
	require.ErrorIs(t, err, ErrBusy)
	close(out)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
}

// A field that is not known is skipped, unless it must not be.
func TestUnknownFields(t *testing.T) {
	h := hello{minVersion, maxVersion, 7, Terms{What: "w", Plugins: []string{"p", ""}, Require: []string{"r"}, Know: []string{"r", "k"},
		Descriptors: 300, StateBytes: 1 << 20}}
	got, err := parseHello(appendField(appendHello(nil, h), 99, may, []byte("x")))
	require.NoError(t, err)
	require.Equal(t, h, got)
	_, err = parseHello(appendField(appendHello(nil, h), 99, must, []byte("x")))
	require.ErrorIs(t, err, ErrUnknown)
	h.min, h.max = maxVersion+1, maxVersion+2
	got, err = parseHello(appendHello(nil, h))
	require.NoError(t, err)
	require.ErrorIs(t, checkHello(got, Terms{}), ErrVersion)
}

// Fields that contradict themselves are refused, whoever sends them.
func TestMalformedFields(t *testing.T) {
	var text string
	var number int
	var list []string
	for name, tt := range map[string]struct {
		b  string
		is error
	}{
		"a field that need not be known":    {"\x08\x01x" + "\x00\x00", nil},
		"one that must be":                  {"\x09\x00", ErrUnknown},
		"field 0":                           {"\x01\x00", ErrUnknown},
		"half a tag":                        {"\x80", ErrMalformed},
		"no length":                         {"\x03", ErrMalformed},
		"half a length":                     {"\x03\x80", ErrMalformed},
		"less than its length":              {"\x03\x02a", ErrMalformed},
		"a length beyond all":               {"\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a", ErrMalformed},
		"no number":                         {"\x05\x00", ErrMalformed},
		"half a number":                     {"\x05\x01\x80", ErrMalformed},
		"a number and more":                 {"\x05\x02\x01\x01", ErrMalformed},
		"a number beyond all":               {"\x05\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ErrMalformed},
		"as many elements as a list has":    {strings.Repeat("\x07\x00", listLimit), nil},
		"one more":                          {strings.Repeat("\x07\x00", listLimit+1), ErrMalformed},
		"the same one twice, the last goes": {"\x03\x01a\x03\x01b", nil},
	} {
		list = nil
		require.ErrorIs(t, readFields([]byte(tt.b), &text, &number, &list), tt.is, name)
	}
	for _, h := range []hello{{}, {min: 0, max: 1}, {min: 2, max: 1}} {
		_, err := parseHello(appendHello(nil, h))
		require.ErrorIs(t, err, ErrMalformed)
	}
	_, err := parseHello(nil)
	require.ErrorIs(t, err, ErrMalformed)
	_, err = parseHello(appendField(nil, 11, must, nil))
	require.ErrorIs(t, err, ErrUnknown)
}

// A refusal says why by a number where this side knows it, else in words alone.
func TestRefusalWire(t *testing.T) {
	for code, known := range refusals {
		if known != nil {
			require.Equal(t, &RefusedError{StepStage, "it is so: " + known.Error(), known},
				parseRefusal(appendRefusal(nil, StepStage, fmt.Errorf("it is so: %w", known))), "%d", code)
		}
	}
	require.Equal(t, &RefusedError{StepStage, "it is so", nil}, parseRefusal(appendRefusal(nil, StepStage, errors.New("it is so"))))
	var cut *RefusedError // a reason that is too long loses no part of a character
	for _, before := range []string{"", "x"} {
		require.ErrorAs(t, parseRefusal(appendRefusal(nil, StepStage, errors.New(before+strings.Repeat("é", chunkSize)))), &cut)
		require.True(t, utf8.ValidString(cut.Reason))
		require.InDelta(t, chunkSize, len(cut.Reason), 1)
	}
	require.Equal(t, &RefusedError{StepHello, "", nil}, parseRefusal(nil))
	require.Equal(t, &RefusedError{StepHello, "", nil}, parseRefusal(appendNumber(nil, 1, may, len(refusals))))
}

// On systems without sequenced packets all functions that need them return the same error.
func TestNoSequencedPackets(t *testing.T) {
	if sock.Sequenced(syscall.SOCK_SEQPACKET) == nil {
		t.Skip(runtime.GOOS, "has them")
	}
	path := filepath.Join(sockdir.New(t), "x")
	_, _, err := PacketPair()
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = ConnectControl(t.Context(), path)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// Both processes share the blocking mode of the pipe. A new owner may make the pipe blocking at any
// moment, and that must not make the old owner wait.
func TestTakeBackNeverWaits(t *testing.T) {
	fdtest.NoLeak(t)
	for i := range 2_000 {
		k, err := newToken()
		require.NoError(t, err)
		written := i%2 == 0
		if written {
			require.NoError(t, k.write())
		}
		raw, err := k.r.SyscallConn()
		require.NoError(t, err)
		other := -1 // the new owner's descriptor, which shares the mode
		require.NoError(t, raw.Control(func(fd uintptr) { other, err = unix.Dup(int(fd)) }))
		require.NoError(t, err)
		begun, over, stopped := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			err := unix.SetNonblock(other, false)
			for close(begun); err == nil; err = unix.SetNonblock(other, false) {
				select {
				case <-over:
					stopped <- nil
					return
				default:
				}
			}
			stopped <- err
		}()
		<-begun
		var back bool
		took := make(chan error, 1)
		go func() {
			var err error
			back, err = k.takeBack()
			took <- err
		}()
		select {
		case err := <-took:
			require.NoError(t, err)
			require.Equal(t, written, back)
		case <-time.After(expect.Limit):
			require.FailNow(t, "it waits", "round %d", i)
		}
		close(over)
		require.NoError(t, <-stopped)
		require.NoError(t, unix.Close(other))
		require.NoError(t, k.close())
	}
}
