//go:build unix

package transporttest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
)

func loopback() transport.Addr {
	return transport.FromAddrPort(netip.MustParseAddrPort("127.0.0.1:0"))
}

// alike are the good plug-ins and the carriers of packets that differ in little from another one:
// with -short they are not tried.
var alike = []string{
	"one memory", "net through a proxy", "abstract unix", "package tls", "full, with a context's time-outs", "over TCP",
}

// always is a factory for a transport whose listeners choose their own address.
func always(tr transport.Transport, at transport.Addr) Factory {
	return func() (transport.Transport, transport.Addr, error) { return tr, at, nil }
}

// A good plug-in keeps every rule.
type good struct {
	name    string
	factory func(t testing.TB) Factory
}

func goods() []good {
	all := []good{
		{"tcp", func(testing.TB) Factory { return always(transport.TCP(), loopback()) }},
		{"unix", func(t testing.TB) Factory {
			dir := sockdir.New(t)
			var n atomic.Int64
			return func() (transport.Transport, transport.Addr, error) {
				a, err := transport.ParseAddr("unix:" + filepath.Join(dir, fmt.Sprint(n.Add(1))))
				return transport.Unix(), a, err
			}
		}},
		{"memory", func(testing.TB) Factory {
			return func() (transport.Transport, transport.Addr, error) {
				return transport.NewMemory(), transport.MemoryAddr(""), nil
			}
		}},
		{"one memory", func(testing.TB) Factory { return always(transport.NewMemory(), transport.MemoryAddr("")) }},
		{"net", func(testing.TB) Factory { return always(overNet(), loopback()) }},
		{"net through a proxy", func(testing.TB) Factory { return always(proxied(), loopback()) }},
		{"full", func(t testing.TB) Factory { return always(must(t, polling(true)), loopback()) }},
		{"full, with frames", func(t testing.TB) Factory {
			return always(must(t, framed(polling(true), func(*framing) {})), loopback())
		}},
		{"full without Interrupt", func(t testing.TB) Factory { return always(must(t, polling(false)), loopback()) }},
		{"full without Interrupt, Write goes on, with a context's time-outs",
			func(t testing.TB) Factory { return always(must(t, goesOn()), loopback()) }},
	}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		l.Close()
		all = append(all, good{"tcp over IPv6", func(testing.TB) Factory {
			return always(transport.TCP(), transport.FromAddrPort(netip.MustParseAddrPort("[::1]:0")))
		}})
	}
	if runtime.GOOS == "linux" {
		all = append(all, good{"abstract unix", func(testing.TB) Factory {
			var n atomic.Int64
			return func() (transport.Transport, transport.Addr, error) {
				a, err := transport.ParseAddr(fmt.Sprintf("unix:@transporttest-%d-%d-%d", os.Getpid(), time.Now().UnixNano(), n.Add(1)))
				return transport.Unix(), a, err
			}
		}})
	}
	return slices.Concat(all, narrow(), firstTry())
}

func must[C any](t testing.TB, cb transport.Callbacks[C]) transport.Transport {
	t.Helper()
	return expect.NoError(transport.New(cb, nil)).In(t)
}

// overNet is a transport made of package net.
func overNet() transport.Transport {
	return transport.FromNet(transport.Net{
		Listen: func(a transport.Addr) (net.Listener, error) { return net.Listen("tcp", a.String()) },
		Dial: func(ctx context.Context, a transport.Addr) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", a.String())
		},
	})
}

// proxied is overNet with a proxy between the ends, so that each sees the proxy's address in place
// of the other's own.
func proxied() transport.Transport {
	return transport.FromNet(transport.Net{
		Listen: func(a transport.Addr) (net.Listener, error) { return net.Listen("tcp", a.String()) },
		Dial: func(ctx context.Context, a transport.Addr) (net.Conn, error) {
			var d net.Dialer
			far, err := d.DialContext(ctx, "tcp", a.String())
			if err != nil {
				return nil, err
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				far.Close()
				return nil, err
			}
			go func() {
				near, err := l.Accept()
				l.Close()
				if err != nil {
					far.Close()
					return
				}
				relay(near.(*net.TCPConn), far.(*net.TCPConn))
			}()
			c, err := d.DialContext(ctx, "tcp", l.Addr().String())
			if err != nil {
				l.Close()
			}
			return c, err
		},
	})
}

// relay passes on bytes, and the end of the stream, in both directions.
func relay(one, other *net.TCPConn) {
	var both sync.WaitGroup
	pass := func(from, to *net.TCPConn) {
		if _, err := io.Copy(to, from); err != nil {
			one.Close()
			other.Close()
		}
		_ = to.CloseWrite()
	}
	both.Go(func() { pass(one, other) })
	both.Go(func() { pass(other, one) })
	both.Wait()
	one.Close()
	other.Close()
}
