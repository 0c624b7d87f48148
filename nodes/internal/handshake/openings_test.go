package handshake

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
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
		const here, there, other = "10.0.0.1/32", "10.0.0.2/32", "2001:db8::/64"
		for _, tt := range []struct {
			name string
			all  []shake // oldest first
			want int
		}{
			{"strangers are in their own way", []shake{{here, 9, false}, {there, 5, true}, {there, 4, true}}, 1},
			{"so are those of a network", []shake{{here, 9, false}, {other, 5, true}, {other, 4, true}}, 1},
			{"long silent", []shake{{here, 9, true}, {here, 5, false}, {here, 4, false}, {here, 0, false}}, 1},
			{"they have spoken, and that is all; one has just begun", []shake{{here, 6, true}, {here, 5, true}, {here, 0, false}}, 0},
			{"all have just begun", []shake{{here, 0, true}, {here, 0, false}, {here, 0, false}}, 1},
			{"all have just spoken", []shake{{here, 0, true}, {here, 0, true}}, 0},
			{"a host that has just come with two", []shake{{there, 6, false}, {other, 6, false}, {here, 0, true}, {here, 0, false}}, 0},
			{"nobody has two", []shake{{here, 3, true}, {there, 2, false}, {other, 0, false}}, 1},
		} {
			var all Openings
			var list []*Opening
			for _, s := range tt.all {
				o := &Opening{host: netip.MustParsePrefix(s.host), began: time.Now().Add(-s.age * time.Second), spoke: s.spoke}
				o.at = all.list.PushBack(o)
				list = append(list, o)
			}
			require.Same(t, list[tt.want], all.dispensable(), tt.name)
		}
	})
}

// Handshakes end when their time is over, each at its own moment, though one timer is for all.
func TestHandshakesEndInTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 7 * time.Second
		late := errors.New("late")
		all := Openings{Most: 10, Limit: limit, Late: late}
		add := func() *Opening {
			ctx, cancel := context.WithCancelCause(context.Background())
			o := new(Opening)
			all.Begin(ctx, o, cancel, netip.Prefix{})
			return o
		}
		leave := func(o *Opening) {
			all.mu.Lock()
			defer all.mu.Unlock()
			all.list.Remove(o.at)
		}
		quick := add()
		time.Sleep(time.Second)
		leave(quick)
		var slow []*Opening
		for range 3 {
			slow = append(slow, add())
			time.Sleep(time.Second)
		}
		time.Sleep(limit - 3*time.Second - 1) // to just before the end of the first
		for _, o := range slow {
			require.NoError(t, o.Ctx.Err())
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			require.ErrorIs(t, context.Cause(o.Ctx), late)
			require.ErrorIs(t, o.Ctx.Err(), context.DeadlineExceeded)
			time.Sleep(time.Second - 1)
			leave(o)
		}
		time.Sleep(time.Hour)
		last := add() // the timer is set anew
		time.Sleep(limit)
		synctest.Wait()
		require.Error(t, last.Ctx.Err())
		require.NoError(t, quick.Ctx.Err())
		leave(last)
		add()
		all.NoMore()
		behind := add() // sets no timer any more
		time.Sleep(2 * limit)
		synctest.Wait()
		require.NoError(t, behind.Ctx.Err())
	})
}

// A context with a time, which is ended at its deadline by something else, gives the error of one
// that ends itself.
func TestTimedContextError(t *testing.T) {
	late := errors.New("late")
	parent, end := context.WithCancel(t.Context())
	for _, tt := range []struct {
		name string
		end  func(cancel context.CancelCauseFunc)
		want error
	}{
		{"it goes on", func(context.CancelCauseFunc) {}, nil},
		{"its time is over", func(cancel context.CancelCauseFunc) { cancel(late) }, context.DeadlineExceeded},
		{"a newer one needs its place", func(cancel context.CancelCauseFunc) { cancel(ErrCrowded) }, context.Canceled},
		{"it is over", func(cancel context.CancelCauseFunc) { cancel(nil) }, context.Canceled},
		{"the node has ended", func(context.CancelCauseFunc) { end() }, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			below, cancel := context.WithCancelCause(parent)
			defer cancel(nil)
			ctx := &timed{below, time.Now().Add(time.Hour), late}
			tt.end(cancel)
			require.Equal(t, tt.want, ctx.Err())
		})
	}
}
