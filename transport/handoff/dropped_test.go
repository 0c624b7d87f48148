//go:build unix

package handoff

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/transport"
)

func TestDroppedIsClosed(t *testing.T) {
	fdtest.ClosesDropped(t, map[string]func(t *testing.T, fd int){
		"set": func(t *testing.T, fd int) {
			require.NoError(t, expect.Err(NewFDSet(fdtest.Duplicate(t, fd))))
		},
		"set, emptied and used again": func(t *testing.T, fd int) {
			set := expect.NoError(NewFDSet(fdtest.Duplicate(t, fd))).In(t)
			require.NoError(t, set.Close())
			require.NoError(t, expect.Err(set.Add(fdtest.Duplicate(t, fd))))
		},
		"set of a stranger": func(t *testing.T, fd int) {
			a, b := connPair(t, unix.SOCK_STREAM)
			require.NoError(t, a.Send(fdtest.Soon(t), []byte("x"), fd))
			var set FDSet
			require.NoError(t, expect.Err(b.Receive(fdtest.Soon(t), make([]byte, 1), &set, 1)))
		},
	}, map[string]func(c *net.UnixConn) error{
		"Conn": func(c *net.UnixConn) error { return expect.Err(NewConn(c)) },
		"Conn that has waited": func(u *net.UnixConn) error {
			c, err := NewConn(u)
			if err == nil {
				_, err = c.Receive(transport.NoWait(), make([]byte, 1), nil, 0)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			return fmt.Errorf("it did not wait: %w", err)
		},
	})
}

// A descriptor that was stolen, or closed, is not closed by its set once more.
func TestDroppedClosesNothingElse(t *testing.T) {
	fdtest.NoLeak(t)
	f := fdtest.File(t, "f")
	kept := make([]int, 0, 300)
	func() {
		for range 100 {
			set, err := NewFDSet(fdtest.Duplicate(t, f), fdtest.Duplicate(t, f), fdtest.Duplicate(t, f))
			require.NoError(t, err)
			fd := expect.NoError(set.Steal(1)).In(t)
			kept = append(kept, fd)
			require.NoError(t, set.Close())
			for range 2 { // they get the numbers that the set had
				kept = append(kept, fdtest.Duplicate(t, f))
			}
		}
	}()
	for range 5 {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	for _, fd := range kept {
		require.False(t, fdtest.IsClosed(fd))
		require.NoError(t, unix.Close(fd))
	}
}
