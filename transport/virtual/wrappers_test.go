package virtual

import (
	"context"
	"io"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// A callback that was left behind may still read the vector that it was given, so no wrapper uses
// that vector again.
func TestWrappersLeaveLostVector(t *testing.T) {
	for name, over := range map[string]func(below *transport.Stream) end{
		"Fault": func(below *transport.Stream) end { return newFault(FaultOptions{}).faulty(below, FaultConnected, 1) },
		"Limit": LimitOptions{Write: 1, Burst: 5}.over,
	} {
		t.Run(name, func(t *testing.T) {
			var kept [][]byte
			var text string // in it
			c, _ := pair(t, hooked(nil, func(_ through, _ context.Context, v [][]byte) (int64, error) {
				if kept == nil {
					kept, text = v, string(slices.Concat(v...))
				}
				return 0, &transport.CallbackError{Callback: "Writev", Err: transport.ErrUnresponsive}
			}), transport.MemoryAddr(""))
			e := over(c)
			for _, v := range [][][]byte{{[]byte("one"), []byte("two")}, {[]byte("some"), []byte("more")}} {
				require.ErrorIs(t, expect.Err(e.write(context.Background(), v)), transport.ErrUnresponsive)
			}
			require.NotEmpty(t, text)
			require.Equal(t, text, string(slices.Concat(kept...)))
		})
	}
}

// CloseWrite ends a write that a wrapper holds back; what it has counted arrives.
func TestWrappersCloseWrite(t *testing.T) {
	for name, over := range map[string]func(s *transport.Stream) (*transport.Stream, error){
		"Limit": func(s *transport.Stream) (*transport.Stream, error) {
			return LimitStream(s, LimitOptions{Write: 1e-6, Burst: 4})
		},
		"Fault": func(s *transport.Stream) (*transport.Stream, error) {
			return FaultStream(s, FaultOptions{At: []FaultAt{{Kind: FaultDelay, Write: true, Offset: 4, For: time.Hour}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
				c = expect.NoError(over(c)).In(t)
				var n int64
				sent := expect.Aside(func() (err error) { n, err = c.Writev(context.Background(), []byte("held back")); return err })
				synctest.Wait()
				began := time.Now()
				require.NoError(t, c.CloseWrite())
				require.ErrorIs(t, <-sent, syscall.EPIPE)
				require.Zero(t, time.Since(began))
				require.EqualValues(t, 4, n)
				for _, ctx := range []context.Context{context.Background(), transport.NoWait()} {
					require.ErrorIs(t, expect.Err(c.Writev(ctx, []byte("late"))), syscall.EPIPE)
				}
				got := expect.NoError(io.ReadAll(transport.NetConn(s))).In(t)
				require.Equal(t, "held", string(got))
				require.NoError(t, c.Close())
			})
		})
	}
}
