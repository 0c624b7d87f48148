package virtual

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
)

// A letterbox is a datagram socket inside the process, whose waits work in a testing/synctest
// bubble. Like a socket of another package it has no methods beyond those of tsocket.Socket.
type letterbox struct {
	name string
	come chan letter
	to   *letterbox
	gone chan struct{}
}

type letter struct {
	text string
	from transport.Addr
}

// letterboxes are two letterboxes that send to each other, whatever address they are given.
func letterboxes() (one, other *letterbox) {
	box := func(name string) *letterbox {
		return &letterbox{name: name, come: make(chan letter, 1000), gone: make(chan struct{})}
	}
	one, other = box("one"), box("other")
	one.to, other.to = other, one
	return one, other
}

func (b *letterbox) RecvFrom(ctx context.Context, p []byte) (int, transport.Addr, error) {
	if transport.IsNoWait(ctx) && len(b.come) == 0 {
		return 0, nil, fails("receive", nil, os.ErrDeadlineExceeded)
	}
	select {
	case l := <-b.come:
		n := copy(p, l.text)
		if n < len(l.text) {
			return n, l.from, fails("receive", nil, &tsocket.TooLongError{Size: len(l.text), Room: n})
		}
		return n, l.from, nil
	case <-ctx.Done():
		return 0, nil, fails("receive", nil, ctx.Err())
	case <-b.gone:
		return 0, nil, fails("receive", nil, net.ErrClosed)
	}
}

func fails(op string, addr transport.Addr, err error) error {
	return &transport.OpError{Op: op, Addr: addr, Err: err}
}

func (b *letterbox) SendTo(_ context.Context, p []byte, _ transport.Addr) (int, error) {
	b.to.come <- letter{string(p), b.LocalAddr()}
	return len(p), nil
}

func (b *letterbox) LocalAddr() transport.Addr  { return transport.MemoryAddr(b.name) }
func (b *letterbox) RemoteAddr() transport.Addr { return transport.MemoryAddr(b.to.name) }
func (b *letterbox) Disconnect() error          { return b.Close() }
func (b *letterbox) Close() error               { close(b.gone); return nil }

var _ tsocket.Socket = (*letterbox)(nil)

// posts sends words, one datagram each.
func posts(t testing.TB, d tsocket.Socket, words ...string) {
	t.Helper()
	for _, w := range words {
		require.Equal(t, len(w), expect.NoError(d.SendTo(context.Background(), []byte(w), nil)).In(t))
	}
}

// gets expects words, one datagram each.
func gets(t testing.TB, d tsocket.Socket, words ...string) {
	t.Helper()
	for _, w := range words {
		p := make([]byte, 1000)
		n, from, err := d.RecvFrom(context.Background(), p)
		require.NoError(t, err)
		require.Equal(t, w, string(p[:n]))
		require.NotNil(t, from)
	}
}

// A virtual socket owns the socket below. Methods that not every socket has work if the socket
// below has them.
func TestVirtualDatagramOwns(t *testing.T) {
	for name, over := range map[string]func(tsocket.Socket) *tsocket.Datagram{
		"trace": func(d tsocket.Socket) *tsocket.Datagram { return Trace(d, TraceOptions{}) },
		"limit": func(d tsocket.Socket) *tsocket.Datagram { return Limit(d, LimitOptions{}) },
		"fault": func(d tsocket.Socket) *tsocket.Datagram {
			return Fault(d, FaultOptions{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			for how, end := range map[string]func(*tsocket.Datagram) error{
				"Close": (*tsocket.Datagram).Close, "Disconnect": (*tsocket.Datagram).Disconnect, "Release": (*tsocket.Datagram).Release,
			} {
				below, connected := udpPair(t, "ipv4")
				v := over(connected)
				require.Equal(t, connected.LocalAddr(), v.LocalAddr())
				require.Equal(t, connected.RemoteAddr(), v.RemoteAddr())
				require.NoError(t, expect.Err(v.SyscallConn()))
				require.NoError(t, expect.Err(v.SendTo(soon(t), []byte("hello"), below.LocalAddr())))
				requireReceives(t, below, "hello", v.LocalAddr())
				_, err := v.SendTo(soon(t), []byte("hello"), loopback())
				require.ErrorIs(t, err, syscall.EISCONN)
				_, _, late := v.RecvFrom(transport.NoWait(), make([]byte, 1))
				require.ErrorIs(t, late, os.ErrDeadlineExceeded)
				for _, err := range []error{err, late} {
					op := expect.As[*transport.OpError](t, err)
					require.False(t, errors.As(op.Err, &op), "it is told twice: %v", err)
				}
				require.NoError(t, end(v), how)
				require.ErrorIs(t, expect.Err(connected.SendTo(soon(t), []byte("x"), nil)), net.ErrClosed)

				box, _ := letterboxes()
				v = over(box)
				require.ErrorIs(t, expect.Err(v.SyscallConn()), errors.ErrUnsupported)
				require.NoError(t, end(v), how)
				<-box.gone
			}
		})
	}
}

// A stuckBox cannot be closed.
type stuckBox struct{ *letterbox }

func (stuckBox) Close() error { return fails("close", transport.MemoryAddr("box"), syscall.EIO) }

// A stuckRelease cannot be released either.
type stuckRelease struct{ stuckBox }

func (stuckRelease) Release() error {
	return fails("release", transport.MemoryAddr("box"), syscall.EBADF)
}

// An error with which the socket below ends is told, once and again, without what the one below
// says about itself.
func TestVirtualDatagramEndsWithError(t *testing.T) {
	box, _ := letterboxes()
	for _, tt := range []struct {
		name  string
		below tsocket.Socket
		end   func(*tsocket.Datagram) error
		want  syscall.Errno
	}{
		{"Close", stuckRelease{stuckBox{box}}, (*tsocket.Datagram).Close, syscall.EIO},
		{"Disconnect", stuckRelease{stuckBox{box}}, (*tsocket.Datagram).Disconnect, syscall.EIO},
		{"Release", stuckRelease{stuckBox{box}}, (*tsocket.Datagram).Release, syscall.EBADF},
		{"Release of one that has none", stuckBox{box}, (*tsocket.Datagram).Release, syscall.EIO},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := Trace(tt.below, TraceOptions{})
			for _, err := range []error{tt.end(d), d.Close()} {
				require.Equal(t, fails("close", transport.MemoryAddr("other"), tt.want), err)
			}
		})
	}
}

// The end of a socket below ends the waits of the virtual sockets above it, however many there are,
// and whichever of them waits.
func TestVirtualDatagramEndsWithTheOneBelow(t *testing.T) {
	stall := []FaultAt{{Kind: FaultDelay, For: time.Hour}, {Kind: FaultDelay, Write: true, For: time.Hour}}
	for name, over := range map[string]func(t *testing.T, d tsocket.Socket) *tsocket.Datagram{
		"limit": func(t *testing.T, d tsocket.Socket) *tsocket.Datagram {
			v := Limit(d, LimitOptions{Read: 1e-3, Write: 1e-3, Burst: 1})
			posts(t, v, "x")
			return v
		},
		"fault": func(t *testing.T, d tsocket.Socket) *tsocket.Datagram {
			return Fault(d, FaultOptions{At: stall})
		},
	} {
		for how, end := range map[string]func(*tsocket.Datagram) error{
			"Close": (*tsocket.Datagram).Close, "Disconnect": (*tsocket.Datagram).Disconnect,
			"Release": (*tsocket.Datagram).Release,
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				_, connected := udpPair(t, "ipv4")
				v := over(t, Trace(connected, TraceOptions{}))
				above := Trace(v, TraceOptions{})
				sent := expect.Aside(func() error { return expect.Err(above.SendTo(context.Background(), []byte("y"), nil)) })
				expect.WaitsIn(t, "select", "(*Pauser).Until")
				require.NoError(t, end(connected))
				require.ErrorIs(t, expect.Returns(t, sent), net.ErrClosed)
				require.Error(t, expect.Err(above.SendTo(soon(t), []byte("y"), nil)))
				require.NoError(t, above.Close())
			})
		}
	}
	_, connected := udpPair(t, "ipv4")
	require.NoError(t, connected.Close())
	v := Fault(connected, FaultOptions{At: stall})
	require.ErrorIs(t, expect.Err(v.SendTo(context.Background(), []byte("y"), nil)), net.ErrClosed, "closed before")
}
