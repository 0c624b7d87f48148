package atoms_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/atoms"
	"github.com/cnode-go/cnode/transport"
)

// A wire is what has been posted, in order.
type wire struct {
	mu     sync.Mutex
	frames [][]byte
}

func (w *wire) post(head, body []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frames = append(w.frames, slices.Concat(head, body))
	return nil
}

// read gives what a peer makes of the frames.
func (w *wire) read(t *testing.T) (terms []ei.Term) {
	t.Helper()
	r := protocol.NewReader(dist.FlagsDefault, protocol.Limits{}, nil)
	for _, frame := range w.frames {
		var ctl dist.Control
		a, err := r.ReadFrame(frame[4:], &ctl)
		require.NoError(t, err)
		require.Equal(t, dist.OpRegSend, ctl.Op)
		require.Equal(t, ei.Atom("name"), ctl.ToName)
		payload, err := a.Whole(nil, 1<<20)
		require.NoError(t, err)
		term, err := payload.Decode()
		require.NoError(t, err)
		terms = append(terms, term)
	}
	return terms
}

func encoded(t testing.TB, term ei.Term) (control []byte, payload ei.Raw) {
	t.Helper()
	control, err := protocol.AppendControl(nil, &dist.Control{Op: dist.OpRegSend, From: ei.Pid{Node: "a@b", ID: 1}, ToName: "name"})
	require.NoError(t, err)
	payload, err = ei.AppendTerm(nil, term)
	require.NoError(t, err)
	return control, payload
}

// What many send at once arrives whole, with fewer bytes the second time, also after a post that
// failed.
func TestSend(t *testing.T) {
	var pool atoms.Pool
	s, w := pool.NewSender(), new(wire)
	var sent []ei.Term
	send := func(term ei.Term, post func(head, body []byte) error) error {
		control, payload := encoded(t, term)
		posted, sound, err := s.Send(t.Context(), control, payload, post)
		require.True(t, posted)
		require.True(t, sound)
		return err
	}
	tuple := func(i int) ei.Term {
		return ei.Tuple{ei.Int(i), ei.Atom(fmt.Sprintf("atom_%d", i%7)), ei.Map{{Key: ei.Atom("k"), Value: ei.Atom("v")}}}
	}
	failed := errors.New("not posted")
	for i := range 20 {
		sent = append(sent, tuple(i))
		if i == 10 { // the peer never sees its atoms
			require.ErrorIs(t, send(ei.Tuple{ei.Atom("lost"), ei.Atom("atom_1")}, func(_, _ []byte) error { return failed }), failed)
		}
		require.NoError(t, send(tuple(i), w.post))
	}
	require.Equal(t, sent, w.read(t))
	require.Less(t, len(w.frames[9]), len(w.frames[2]))

	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				require.NoError(t, send(ei.Tuple{ei.Atom(fmt.Sprintf("g%d_%d", g, i)), ei.Int(i)}, w.post))
			}
		})
	}
	wg.Wait()
	require.Len(t, w.read(t), 20+8*200)
}

// A caller waits for its turn as long as it likes, and sends the message otherwise if it does not.
func TestTurns(t *testing.T) {
	var pool atoms.Pool
	s, w := pool.NewSender(), new(wire)
	control, payload := encoded(t, ei.Tuple{ei.Atom("x")})
	posting, goOn := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, _, err := s.Send(t.Context(), control, payload, func(head, body []byte) error {
			close(posting)
			<-goOn
			return w.post(head, body)
		})
		done <- err
	}()
	<-posting
	posted, _, err := s.Send(transport.NoWait(), control, payload, w.post)
	require.False(t, posted)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = s.Send(ctx, control, payload, w.post)
	require.ErrorIs(t, err, context.Canceled)
	close(goOn)
	require.NoError(t, <-done)
	require.Len(t, w.read(t), 1)
}

func TestMayHave(t *testing.T) {
	for _, tt := range []struct {
		term ei.Term
		want bool
	}{
		{ei.Atom("x"), true}, {ei.Tuple{ei.Int(1)}, true}, {ei.List{ei.Int(1000)}, true}, {ei.Map{}, true},
		{ei.Binary("x"), false}, {ei.Int(1), false}, {ei.Tuple{ei.Atom("x"), ei.Binary(make([]byte, 1<<20))}, false},
	} {
		_, payload := encoded(t, tt.term)
		require.Equal(t, tt.want, atoms.MayHave(payload), "%v", tt.term)
	}
	require.False(t, atoms.MayHave(nil))
}

// What is no term is left to the caller.
func TestNoTerm(t *testing.T) {
	var pool atoms.Pool
	control, _ := encoded(t, ei.Atom("x"))
	posted, sound, err := pool.NewSender().Send(t.Context(), control, ei.Raw{104, 3, 97}, nil)
	require.False(t, posted)
	require.False(t, sound)
	require.NoError(t, err)
	_, payload := encoded(t, ei.Tuple{ei.Atom("x")})
	w := new(wire)
	posted, sound, err = pool.NewSender().Send(t.Context(), control, append(payload, 0), w.post)
	require.True(t, posted, "without what follows the term")
	require.False(t, sound)
	require.NoError(t, err)
}
