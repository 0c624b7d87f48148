package pace

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport/internal/patience"
)

// A bucket with room for more bytes than an integer can count lets all of them pass at once.
func TestHugeBuckets(t *testing.T) {
	for _, b := range []*Bucket{NewBucket(1e6, math.MaxInt), NewBucket(1e30, 0), NewBucket(math.MaxFloat64, 0)} {
		k, _ := b.look(1<<20, false)
		require.EqualValues(t, 1<<20, k, "%+v", b)
	}
}

// Under a slowTimer, who waits wakes late: the timer is made before Done is called.
type slowTimer struct {
	context.Context
	by time.Duration
}

func (c slowTimer) Done() <-chan struct{} {
	time.Sleep(c.by)
	return nil
}

// A waiter that wakes late makes up for it, for a timer's lateness is no rest; after a rest there
// is one burst again and no more.
func TestMakesUpForLateness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(1e6, 100)
		passes := func(want int, ctx context.Context) {
			n := expect.NoError(b.Allow(ctx, NewPauser(), 1e9)).In(t)
			require.EqualValues(t, want, n)
		}
		late := func(want int, by time.Duration) {
			passes(want, slowTimer{context.Background(), by})
		}
		passes(100, context.Background())
		b.Take(100)
		late(1000, time.Millisecond)
		b.Take(400)
		passes(600, patience.NoWait())
		time.Sleep(200 * time.Microsecond)
		passes(400, patience.NoWait()) // what is beyond the burst goes as fast as it came
		time.Sleep(time.Second)
		passes(100, patience.NoWait())
		b.Take(100)
		late(100_100, time.Hour)
	})
}

// A rate at which the next byte is further away than a Duration can say makes its waiters look
// again each hour.
func TestLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(1e-12, 1)
		b.Take(1)
		k, again := b.look(1, false)
		require.Zero(t, k)
		require.Equal(t, time.Hour, time.Until(again))
	})
}

// A wait that is lifted lets everything pass, and leaves a bucket that is shared as it was.
func TestLifted(t *testing.T) {
	lifted := NewPauser()
	lifted.Lift()
	b := NewBucket(100, 1)
	b.Take(1)
	require.EqualValues(t, 1000, expect.NoError(b.Allow(context.Background(), lifted, 1000)).In(t), "at once")

	synctest.Test(t, func(t *testing.T) {
		b := NewBucket(100, 1)
		b.Take(1)
		p := NewPauser()
		var n int64
		waits := make(chan error, 1)
		go func() {
			var err error
			n, err = b.Allow(context.Background(), p, 1000)
			waits <- err
		}()
		synctest.Wait()
		p.Lift()
		require.NoError(t, <-waits)
		require.EqualValues(t, 1000, n)
		k, _ := b.look(1, true)
		require.Zero(t, k)
	})
}
