package nodestest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/transport"
)

// A cable is a connection between two nodes, with the Net in its middle.
type cable struct {
	n         *Net
	between   [2]string
	near, far net.Conn // to the node that has connected, and to the other one
	closed    atomic.Bool
}

// dial connects a node to what listens at addr.
func (n *Net) dial(ctx context.Context, between [2]string, addr transport.Addr) (net.Conn, error) {
	s, err := n.tr.Connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	end, near := net.Pipe()
	c := &cable{n: n, between: between, near: near, far: transport.NetConn(s)}
	if !n.add(c) {
		return nil, errors.Join(syscall.ECONNREFUSED, c.close(), end.Close())
	}
	go func() {
		defer n.work.Done()
		var ways sync.WaitGroup
		ways.Go(func() { c.carry(c.near, c.far) })
		ways.Go(func() { c.carry(c.far, c.near) })
		ways.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.cables, c)
	}()
	return addressed{end, c.far.LocalAddr(), c.far.RemoteAddr()}, nil
}

// add has a cable in the Net, whose end is counted in n.work, unless the nodes are cut off.
func (n *Net) add(c *cable) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over || n.broken[c.between] == cut {
		return false
	}
	n.cables[c] = struct{}{}
	n.work.Add(1)
	return true
}

// carry passes on what comes one way, and its end.
func (c *cable) carry(from, to net.Conn) {
	defer c.close()
	b := make([]byte, 64<<10)
	for {
		k, err := from.Read(b)
		c.n.mu.Lock()
		for c.n.broken[c.between] == silent && !c.n.over {
			c.n.change.Wait()
		}
		c.n.mu.Unlock()
		if k > 0 {
			if _, failed := to.Write(b[:k]); failed != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// close ends the connection. Who comes second does not wait for the first: it would with a lock,
// and inside a bubble no time passes then, which the first may need.
func (c *cable) close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return errors.Join(c.near.Close(), c.far.Close())
}

// An addressed conn has addresses that tell it from others, unlike that of a net.Pipe.
type addressed struct {
	net.Conn
	local, remote net.Addr
}

func (a addressed) LocalAddr() net.Addr  { return a.local }
func (a addressed) RemoteAddr() net.Addr { return a.remote }

// testLog writes warnings and errors to the log of a test, until the test is over.
func testLog(t testing.TB) *slog.Logger {
	w := &logWriter{t: t}
	t.Cleanup(w.close)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: withoutTime}))
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

type logWriter struct {
	mu   sync.Mutex
	t    testing.TB
	over bool
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		_, _ = fmt.Fprintf(w.t.Output(), "%s", p)
	}
	return len(p), nil
}

func (w *logWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}
