package handoff

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
)

// Packets that a peer has sent before it closed come before the error that it has closed without
// reading everything.
func TestLastWordsComeBeforeReset(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	p := make([]byte, 100)
	receive := map[string]func(c *Conn) (string, error){
		"receive": func(c *Conn) (string, error) {
			n, err := c.Receive(ctx, p, nil, 0)
			return string(p[:n]), err
		},
		"whole packets": func(c *Conn) (string, error) {
			p, _, _, err := c.ReceivePacket(ctx, nil, 100, nil, 0)
			return string(p), err
		},
	}
	for name, receive := range receive {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, own %v", name, own), func(t *testing.T) {
				a, b := ownedPair(t, unix.SOCK_SEQPACKET, own)
				require.NoError(t, a.Send(ctx, []byte("unread")))
				require.NoError(t, b.Send(ctx, []byte("first")))
				require.NoError(t, b.Send(ctx, []byte("second")))
				require.NoError(t, b.Close())
				for _, want := range []string{"first", "second"} {
					got := expect.NoError(receive(a)).In(t)
					require.Equal(t, want, got)
				}
				for range 2 {
					require.ErrorIs(t, expect.Err(receive(a)), syscall.ECONNRESET)
				}
			})
		}
	}
}

// The end is the same after a send in between, and however often it is received.
func TestResetBesideSend(t *testing.T) {
	fdtest.NoLeak(t)
	ctx := fdtest.Soon(t)
	send := map[string]func(c *Conn) error{
		"Send":    func(c *Conn) error { return c.Send(ctx, []byte("more")) },
		"TrySend": func(c *Conn) error { _, err := c.TrySend([]byte("more")); return err },
		"nothing": nil,
	}
	for kind, want := range map[int]error{unix.SOCK_SEQPACKET: syscall.ECONNRESET, unix.SOCK_STREAM: syscall.EPIPE} {
		for name, send := range send {
			for _, own := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, kind %d, own %v", name, kind, own), func(t *testing.T) {
					a, b := ownedPair(t, kind, own)
					require.NoError(t, a.Send(ctx, []byte("unread")))
					require.NoError(t, b.Close())
					if send != nil {
						require.ErrorIs(t, send(a), want)
					}
					for range 2 {
						require.ErrorIs(t, expect.Err(a.Receive(ctx, make([]byte, 10), nil, 0)), syscall.ECONNRESET)
					}
				})
			}
		}
	}
}

// ownedPair makes two connected Conns, the first of which is borrowed from package net, or owns its
// socket.
func ownedPair(t *testing.T, kind int, own bool) (a, b *Conn) {
	t.Helper()
	one, other := fdtest.Pair(t, kind)
	a = expect.NoError(borrow(one)).In(t)
	if own {
		a.own()
	}
	t.Cleanup(func() { _ = a.Close() })
	return a, conn(t, other)
}
