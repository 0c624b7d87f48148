package virtual

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

func TestLimitDatagram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, other := letterboxes()
		v := Limit(one, LimitOptions{Read: 100, Write: 10, Burst: 20})
		defer v.Close()
		begin := time.Now()
		passed := func() float64 { return time.Since(begin).Seconds() }
		posts(t, v, "0123456789", "0123456789", "0123456789")
		require.InDelta(t, 0.1, passed(), 0.01, "two pass, the third one as soon as there is a byte")
		posts(t, v, "x")
		require.InDelta(t, 1.1, passed(), 0.01)
		gets(t, other, "0123456789", "0123456789", "0123456789", "x")

		// A datagram that is larger than the bucket passes, and the next one waits for it; that
		// wait is cut short by its context.
		large := make([]byte, 120)
		posts(t, other, string(large), "y")
		gets(t, v, string(large))
		require.InDelta(t, 1.1, passed(), 0.01)
		require.ErrorIs(t, expect.Err2(v.RecvFrom(transport.NoWait(), large)), os.ErrDeadlineExceeded)
		short, cancel := context.WithTimeout(context.Background(), time.Second/2)
		defer cancel()
		require.ErrorIs(t, expect.Err2(v.RecvFrom(short, large)), context.DeadlineExceeded)
		require.InDelta(t, 1.6, passed(), 0.01)
		gets(t, v, "y")
		require.InDelta(t, 2.11, passed(), 0.01)

		posts(t, v, string(large))
		waits := expect.Aside(func() error { _, err := v.SendTo(context.Background(), large, nil); return err })
		synctest.Wait()
		require.NoError(t, v.Close())
		require.ErrorIs(t, <-waits, net.ErrClosed)
	})
}

// A datagram goes as soon as there is a byte.
func TestLimitRestsWhileItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, other := letterboxes()
		v := Limit(one, LimitOptions{Read: 1000, Write: 1000, Burst: 100})
		defer v.Close()
		var began time.Time
		go func() {
			time.Sleep(time.Minute)
			began = time.Now()
			posts(t, other, string(make([]byte, 100)), string(make([]byte, 200)))
		}()
		gets(t, v, string(make([]byte, 100)))
		require.Zero(t, time.Since(began))
		gets(t, v, string(make([]byte, 200)))
		require.InDelta(t, 0.001, time.Since(began).Seconds(), 0.0001)
	})
}

// What has not been sent is not counted.
func TestLimitCountsWhatPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, _ := letterboxes()
		b := make([]byte, 10)
		v := Limit(&deaf{letterbox: one, times: 3}, LimitOptions{Write: 1, Burst: 1})
		defer v.Close()
		for range 3 {
			require.ErrorIs(t, expect.Err(v.SendTo(transport.NoWait(), b, nil)), syscall.ECONNREFUSED)
		}
		require.NoError(t, expect.Err(v.SendTo(transport.NoWait(), b, nil)))
	})
}

// A deaf letterbox refuses what it is to send, so many times.
type deaf struct {
	*letterbox
	times int
}

func (d *deaf) SendTo(ctx context.Context, p []byte, to transport.Addr) (int, error) {
	if d.times--; d.times >= 0 {
		return 0, syscall.ECONNREFUSED
	}
	return d.letterbox.SendTo(ctx, p, to)
}
