package transport

import (
	"context"
	"io"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A leaver is a carrier whose callback is left behind in each write, and keeps the vector.
type leaver struct {
	carrier
	v    [][]byte
	text string // in it
}

func (k *leaver) write(_ context.Context, v [][]byte) (int64, error) {
	if k.v == nil {
		k.v, k.text = v, string(slices.Concat(v...))
	}
	return 0, &CallbackError{"Writev", ErrUnresponsive}
}

// A callback that was left behind may still read the vector that it was given, so no wrapper uses that vector again.
func TestWrappersLeaveLostVector(t *testing.T) {
	for name, over := range map[string]func(s *Stream) carrier{
		"Fault": func(s *Stream) carrier { return newFault(FaultOptions{}).faulty(s, FaultConnected, 1) },
		"Limit": LimitOptions{Write: 1, Burst: 5}.over,
	} {
		t.Run(name, func(t *testing.T) {
			k := &leaver{}
			c := over(newStream(k, nil, connected))
			for _, v := range [][][]byte{{[]byte("one"), []byte("two")}, {[]byte("some"), []byte("more")}} {
				_, err := c.write(context.Background(), v)
				require.ErrorIs(t, err, ErrUnresponsive)
			}
			require.Equal(t, k.text, string(slices.Concat(k.v...)))
		})
	}
}

// CloseWrite ends a write that a wrapper holds back; what it has counted arrives.
func TestWrappersCloseWrite(t *testing.T) {
	for name, over := range map[string]func(s *Stream) (*Stream, error){
		"Limit": func(s *Stream) (*Stream, error) { return LimitStream(s, LimitOptions{Write: 1e-6, Burst: 4}) },
		"Fault": func(s *Stream) (*Stream, error) {
			return FaultStream(s, FaultOptions{At: []FaultAt{{Kind: FaultStall, Write: true, Offset: 4, For: time.Hour}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := pair(t, NewMemory(), MemoryAddr(""))
				c, err := over(c)
				require.NoError(t, err)
				var n int64
				sent := aside(func() (err error) { n, err = c.Writev(context.Background(), []byte("held back")); return err })
				synctest.Wait()
				began := time.Now()
				require.NoError(t, c.CloseWrite())
				require.ErrorIs(t, <-sent, syscall.EPIPE)
				require.Zero(t, time.Since(began))
				require.EqualValues(t, 4, n)
				for _, ctx := range []context.Context{context.Background(), NoWait()} {
					require.ErrorIs(t, second(c.Writev(ctx, []byte("late"))), syscall.EPIPE)
				}
				got, err := io.ReadAll(NetConn(s))
				require.NoError(t, err)
				require.Equal(t, "held", string(got))
				require.NoError(t, c.Close())
			})
		})
	}
}
