package nodes

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/peers"
	"github.com/cnode-go/cnode/transport"
)

// If there are too many handshakes, one of those that keep the others out is ended, and none that
// has only just begun.
func TestDispensableHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes
		type shake struct {
			host  string
			age   time.Duration
			spoke bool
		}
		const here, there, other = "10.0.0.1:1", "10.0.0.2:1", "[2001:db8::1]:1"
		for _, tt := range []struct {
			name string
			all  []shake // oldest first
			want int
		}{
			{"strangers are in their own way", []shake{{here, 9, false}, {there, 5, true}, {there, 4, true}}, 1},
			{"so are those of a network", []shake{{here, 9, false}, {other, 5, true}, {"[2001:db8::2]:2", 4, true}}, 1},
			{"long silent", []shake{{here, 9, true}, {here, 5, false}, {here, 4, false}, {here, 0, false}}, 1},
			{"they have spoken, and that is all; one has just begun", []shake{{here, 6, true}, {here, 5, true}, {here, 0, false}}, 0},
			{"all have just begun", []shake{{here, 0, true}, {here, 0, false}, {here, 0, false}}, 1},
			{"all have just spoken", []shake{{here, 0, true}, {here, 0, true}}, 0},
			{"a host that has just come with two", []shake{{there, 6, false}, {other, 6, false}, {here, 0, true}, {here, 0, false}}, 0},
			{"nobody has two", []shake{{here, 3, true}, {there, 2, false}, {other, 0, false}}, 1},
		} {
			var all openings
			var list []*opening
			for _, s := range tt.all {
				a, err := transport.ParseAddr(s.host)
				require.NoError(t, err)
				o := &opening{host: hostOf(a), began: time.Now().Add(-s.age * time.Second), spoke: s.spoke}
				o.at = all.list.PushBack(o)
				list = append(list, o)
			}
			require.Same(t, list[tt.want], all.dispensable(), tt.name)
		}
	})
}

// A handshake that is refused leaves nothing behind: neither its place, nor its context as a child
// of the node's.
func TestRefusedHandshakeLeavesNothing(t *testing.T) {
	w := newWorld(t, "tcp")
	n := w.started("alice")
	o := n.admit(n.ctx, w.tr, w.wire(n.Listeners()[0]).S)
	o.refuse()
	require.Error(t, o.ctx.Err())
	require.Eventually(t, func() bool { // the listener's handshake with the other end is over, too
		n.openings.mu.Lock()
		defer n.openings.mu.Unlock()
		return n.openings.list.Len() == 0 && n.shaking.None()
	}, tooLong, tick)
}

// Handshakes end when their time is over, each at its own moment, though one timer is for all.
func TestHandshakesEndInTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 7 * time.Second
		var all openings
		add := func() *opening {
			o := &opening{began: time.Now()}
			ctx, cancel := context.WithCancelCause(context.Background())
			o.ctx, o.attempt = &timedContext{ctx, o.began.Add(limit)}, &attempt{Attempt: peers.Attempt{Cancel: cancel}}
			all.mu.Lock()
			defer all.mu.Unlock()
			o.at = all.list.PushBack(o)
			all.time(limit)
			return o
		}
		leave := func(o *opening) {
			all.mu.Lock()
			defer all.mu.Unlock()
			all.list.Remove(o.at)
		}
		quick := add()
		time.Sleep(time.Second)
		leave(quick)
		var slow []*opening
		for range 3 {
			slow = append(slow, add())
			time.Sleep(time.Second)
		}
		time.Sleep(limit - 3*time.Second - 1) // to just before the end of the first
		for _, o := range slow {
			require.NoError(t, o.ctx.Err())
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			require.ErrorIs(t, context.Cause(o.ctx), ErrHandshakeTimeout)
			require.ErrorIs(t, o.ctx.Err(), context.DeadlineExceeded)
			time.Sleep(time.Second - 1)
			leave(o)
		}
		time.Sleep(time.Hour)
		late := add() // the timer is set anew
		time.Sleep(limit)
		synctest.Wait()
		require.Error(t, late.ctx.Err())
		require.NoError(t, quick.ctx.Err())
		leave(late)
		add()
		all.noMore()
		add() // sets no timer any more: the bubble's test would wait for it
	})
}

// A timedContext, which is ended at its deadline by something else, gives the error of a context
// that ends itself.
func TestTimedContextError(t *testing.T) {
	parent, end := context.WithCancel(t.Context())
	for _, tt := range []struct {
		name string
		end  func(cancel context.CancelCauseFunc)
		want error
	}{
		{"it goes on", func(context.CancelCauseFunc) {}, nil},
		{"its time is over", func(cancel context.CancelCauseFunc) { cancel(ErrHandshakeTimeout) }, context.DeadlineExceeded},
		{"a newer one needs its place", func(cancel context.CancelCauseFunc) { cancel(errCrowded) }, context.Canceled},
		{"it is over", func(cancel context.CancelCauseFunc) { cancel(nil) }, context.Canceled},
		{"the node has ended", func(context.CancelCauseFunc) { end() }, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			below, cancel := context.WithCancelCause(parent)
			defer cancel(nil)
			ctx := &timedContext{below, time.Now().Add(time.Hour)}
			tt.end(cancel)
			require.Equal(t, tt.want, ctx.Err())
		})
	}
}
