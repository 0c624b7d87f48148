package front

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A plain worker cannot be told what an earlier worker has left.
func TestChoose(t *testing.T) {
	plain, told := &worker{plain: true}, &worker{}
	ready := func(k *Keeper, at ...*worker) []*worker {
		k.views = nil
		for _, w := range at {
			k.views = append(k.views, Worker{Plain: w.plain, Ready: true, Sessions: len(k.views)})
		}
		return at
	}
	k := &Keeper{o: Options{Policy: func(*Session, []Worker) int { return 0 }}}
	fresh, moved := &session{last: &point{}}, &session{last: &point{state: []byte("logged in")}}
	both := ready(k, plain, told)
	require.Same(t, plain, k.choose(fresh, both))
	require.Same(t, told, k.choose(moved, both))
	require.Equal(t, []*worker{plain, told}, both)
	require.Len(t, k.views, 2)
	require.Nil(t, k.choose(moved, ready(k, plain)))
}

// A fakePump says how far a session is.
type fakePump struct {
	open bool
	err  error
	cut  bool
}

func (p *fakePump) look(int) (counters, bool, error) { return counters{}, p.open, p.err }
func (p *fakePump) reset()                           { p.cut = true }

// A session of which nobody knows how far it is may have half of an answer out: it is reset. One
// that its client has ended is let go, and so is one that its worker has ended at its stop.
func TestSettle(t *testing.T) {
	unknown := errors.New("the counters do not stand still")
	for name, tt := range map[string]struct {
		pump fakePump
		said byte
		want Stats
	}{
		"at a point":              {fakePump{open: true}, gone, Stats{Moved: 1}},
		"unknown":                 {fakePump{err: unknown}, gone, Stats{Reset: 1}},
		"unknown, and given back": {fakePump{err: unknown}, kindGivenBack, Stats{Done: 1}},
		"the client has ended":    {fakePump{}, gone, Stats{Gone: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			k := &Keeper{o: Options{}.complete(), sessions: map[uint64]*session{}}
			w := &worker{sessions: map[uint64]*session{}}
			s := &session{id: 1, kind: byPump, fd: -1, pump: &tt.pump, worker: w, taken: true, last: &point{}}
			k.sessions[1], w.sessions[1] = s, s
			k.settle(s, tt.said)
			require.Equal(t, tt.want, k.stats)
			require.Equal(t, tt.want.Reset == 1, tt.pump.cut)
			if k.expiry != nil {
				k.expiry.Stop()
			}
		})
	}
}

// A session that worker after worker refuses has waited since the first of them.
func TestParkedSince(t *testing.T) {
	k := &Keeper{o: Options{MaxParkedAge: time.Hour}}
	defer func() { k.expiry.Stop() }()
	s := new(session)
	k.park(s)
	since := s.parked
	require.False(t, since.IsZero())
	k.queue = nil
	k.park(s)
	require.Equal(t, since, s.parked)
}
