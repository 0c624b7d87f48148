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

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/expect"

	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
	"github.com/cnode-go/cnode/transport/internal/sys"
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
		raw := expect.NoError(r.SyscallConn()).In(t)
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
		if err := closeAll(fds, true); err != nil {
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
	other = expect.Open(FileChannel(f)).In(t)
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
		e := expect.As[*Error](t, took)
		require.Equal(t, newOwner, e.Side)
		owns = e.Owns
	}
	require.Equal(t, owns, taken.Owns)
	<-done
	if gave != nil {
		e := expect.As[*Error](t, gave)
		require.Equal(t, oldOwner, e.Side)
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
			require.NoError(t, sys.Close(fd))
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
	e := expect.As[*Error](t, took)
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
		failed := expect.As[*StartError](t, gave)
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
	e := expect.As[*Error](t, gave)
	require.Equal(t, stepRelease, e.Step)
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
	e := expect.As[*Error](t, err)
	require.Equal(t, stepRelease, e.Step)
	require.NoError(t, <-done)
	require.Equal(t, []int{0, 1, 1, 0}, []int{x.thawed, x.released, x.started, x.discarded})
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
	require.ErrorIs(t, expect.Err(x.acceptance().Take(fdtest.Soon(t), other)), ErrBusy)

	third, another := channels(t) // whose hello is not read any more
	require.NoError(t, another.conn.Send(fdtest.Soon(t), []byte{kindHello}))
	require.ErrorIs(t, expect.Err(o.Give(fdtest.Soon(t), third)), ErrBusy)
	require.NoError(t, third.Close())
	again := exchange{ch: another}
	require.ErrorIs(t, expect.Err(again.receiveAny(fdtest.Soon(t), nil, 0)), ErrBusy)
	close(out)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
}

// On systems without sequenced packets all functions that need them return the same error.
func TestNoSequencedPackets(t *testing.T) {
	if sock.Sequenced(syscall.SOCK_SEQPACKET) == nil {
		t.Skip(runtime.GOOS, "has them")
	}
	path := filepath.Join(sockdir.New(t), "x")
	require.ErrorIs(t, expect.Err2(PacketPair()), errors.ErrUnsupported)
	require.ErrorIs(t, expect.Err(ConnectControl(t.Context(), path)), errors.ErrUnsupported)
}
