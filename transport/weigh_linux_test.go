package transport

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A reader that sits because that has turned out to be better makes one try before a wait for an answer and one after it, also inside a
// large answer.
func TestWeighingSits(t *testing.T) {
	y := polls(t, 10*time.Second)
	y.form(t, true)
	says := make(chan []byte, 2)
	go func() {
		for {
			select {
			case b := <-says:
				y.says(t, b)
			case <-t.Context().Done():
				return
			}
		}
	}()
	// answer asks, and reads b, whose last byte comes a while after so many tries in vain: a reader that sits makes no more.
	answer := func(tries int64, b []byte) (vain int64) {
		y.ask(t)
		before := y.vain.Load()
		y.atVain(tries, func() { time.AfterFunc(5*time.Millisecond, func() { says <- b[len(b)-1:] }) })
		if len(b) > 1 {
			says <- b[:len(b)-1]
		}
		_, err := y.s.Readv(context.Background(), b)
		require.NoError(t, err)
		return y.vain.Load() - before
	}
	r := &y.sock.incoming
	for range 3 {
		r.weigh = weighing{sits: true, usual: time.Nanosecond}
		require.LessOrEqual(t, answer(1, []byte("a")), int64(2))
		r.spin.bulk = pace{hot: true}
		require.LessOrEqual(t, answer(1, bytes.Repeat([]byte("b"), pollBulk+1)), int64(4))
		r.weigh.sits = false
		require.GreaterOrEqual(t, answer(10, []byte("a")), int64(10))
	}
}

// A reader that has had answers for a while sits for a trial.
func TestWeighingTries(t *testing.T) {
	y := polls(t, time.Millisecond)
	echoed := aside(func() error {
		for b := make([]byte, 3); ; {
			if _, err := y.peer.Readv(context.Background(), b); err != nil {
				return err
			}
			if _, err := y.peer.Writev(context.Background(), b); err != nil {
				return err
			}
		}
	})
	w := &y.sock.incoming.weigh
	sat := false
	for deadline := time.Now().Add(time.Minute); (!sat || w.trial) && time.Now().Before(deadline); sat = sat || w.sits {
		_, err := y.s.Writev(context.Background(), []byte("ask"))
		require.NoError(t, err)
		_, err = y.s.Readv(context.Background(), make([]byte, 3))
		require.NoError(t, err)
	}
	require.True(t, sat)
	require.False(t, w.trial)
	require.NotZero(t, w.usual)
	require.NoError(t, y.s.Close())
	require.Error(t, returns(t, echoed))
}
