package transport

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Close waits for the hooks and small callbacks in flight.
func TestCloseWaitsForCallbacks(t *testing.T) {
	for _, name := range []string{"HandshakePacketHeaderSize", "CheckPeer", "CloseWrite", "LocalAddr", "Pending"} {
		t.Run(name, func(t *testing.T) {
			var inside, under atomic.Int32
			var closed atomic.Bool
			release := make(chan struct{})
			slow := func() {
				inside.Add(1)
				<-release
				if closed.Load() {
					under.Add(1)
				}
			}
			cb := memoryCallbacks()
			closing := cb.Close
			var mine atomic.Pointer[memorySocket]
			cb.Close = func(s *memorySocket) error {
				if s == mine.Load() {
					closed.Store(true)
				}
				return closing(s)
			}
			cb.HandshakePacketHeaderSize = func(*memorySocket) (int, error) { slow(); return 2, nil }
			cb.CheckPeer = func(*memorySocket, string) error { slow(); return nil }
			cb.CloseWrite = func(*memorySocket) error { slow(); return nil }
			cb.LocalAddr = func(*memorySocket) (Addr, error) { slow(); return MemoryAddr("x"), nil }
			cb.Pending = func(*memorySocket) (int, error) { slow(); return 0, nil }
			c, _ := memoryPair(t, cb)
			mine.Store(c.car.(*socket[*memorySocket]).c)
			call := aside(func() error {
				switch name {
				case "HandshakePacketHeaderSize":
					_, err := c.HandshakePacketHeaderSize(soon(t))
					return err
				case "CheckPeer":
					return c.CheckPeer(soon(t), "n@h")
				case "CloseWrite":
					return c.CloseWrite()
				case "LocalAddr":
					c.LocalAddr()
				case "Pending":
					_, err := c.PendingBytes()
					return err
				}
				return nil
			})
			waiting(t, &inside, 1)
			done := aside(c.Close)
			select {
			case err := <-done:
				require.FailNow(t, "Close did not wait", "%v", err)
			case <-time.After(20 * time.Millisecond):
			}
			close(release)
			require.NoError(t, returns(t, call))
			require.NoError(t, returns(t, done))
			require.True(t, closed.Load())
			require.Zero(t, under.Load(), "C was closed under a running callback")
			closed.Store(false)
			require.Nil(t, c.LocalAddr(), "a closed C is not asked")
			require.ErrorIs(t, c.CheckPeer(soon(t), "n@h"), net.ErrClosed)
			require.EqualValues(t, 1, inside.Load())
		})
	}
}
