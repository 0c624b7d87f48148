package transport

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A call's context ends with its time or by an Interrupt, and neither ends the next call, nor does
// anything run on once the call has returned.
func TestTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l TimeLimit
		require.True(t, IsNoWait(l.Context(0)))
		l.End()

		began, ctx := time.Now(), l.Context(time.Second)
		<-ctx.Done()
		l.End()
		require.Equal(t, time.Second, time.Since(began))
		require.Equal(t, context.DeadlineExceeded, ctx.Err())

		returned := l.Context(time.Second)
		l.End()
		time.Sleep(time.Hour)
		require.NoError(t, returned.Err())

		for _, tmo := range []time.Duration{time.Hour, Infinite} {
			ctx = l.Context(tmo)
			require.NoError(t, ctx.Err())
			time.AfterFunc(time.Second, l.Interrupt)
			began = time.Now()
			<-ctx.Done()
			l.End()
			require.Equal(t, time.Second, time.Since(began))
			require.NoError(t, l.Context(Infinite).Err())
		}
		l.Interrupt() // of no call
		require.NoError(t, l.Context(Infinite).Err())
	})
}
