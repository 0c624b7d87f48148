package epmd

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeMapper listens on a free port and lets serve talk to each connection, which is closed after
// that. What still hangs at the test's end is cut off.
func fakeMapper(t *testing.T, serve func(conn net.Conn)) (addr string) {
	t.Helper()
	l := listen(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// readRequest takes one request from conn.
func readRequest(conn net.Conn) []byte {
	var head [headerSize]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil
	}
	body := make([]byte, int(head[0])<<8|int(head[1]))
	if _, err := io.ReadFull(conn, body); err != nil {
		return nil
	}
	return body
}

// answering serves each request with the same bytes.
func answering(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		if readRequest(conn) != nil {
			io.WriteString(conn, answer)
		}
	}
}

// silent serves each connection with nothing until the client gives up.
func silent(conn net.Conn) { io.Copy(io.Discard, conn) }

// startServer runs s on a free port until the test ends.
func startServer(t *testing.T, s *Server) (addr string) {
	t.Helper()
	l := listen(t)
	serve(t, s, l)
	return l.Addr().String()
}

// serve runs s on l until the test ends.
func serve(t *testing.T, s *Server, l net.Listener) {
	served := serving(s, l)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-served, ErrServerClosed)
	})
}

// pipeListener is a listener without a network: each connection is a net.Pipe whose ends have TCP
// addresses. It works in a synctest bubble.
type pipeListener struct {
	local, remote net.Addr
	conns         chan net.Conn
	past          chan struct{} // takes a token for an Accept that a deadline ends
	once          sync.Once
	closed        chan struct{}
}

func newPipeListener() *pipeListener {
	lo := net.IPv4(127, 0, 0, 1)
	return &pipeListener{
		local: &net.TCPAddr{IP: lo, Port: 4369}, remote: &net.TCPAddr{IP: lo, Port: 40000},
		conns: make(chan net.Conn), past: make(chan struct{}, 1), closed: make(chan struct{}),
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.past:
		return nil, os.ErrDeadlineExceeded
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// SetDeadline ends an Accept, as a freeze does.
func (l *pipeListener) SetDeadline(t time.Time) error {
	if !t.IsZero() {
		l.past <- struct{}{}
	}
	return nil
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return l.local }

func (l *pipeListener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- addressed{theirs, l.local, l.remote}:
		return ours, nil
	case <-l.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// addressed is a connection with other addresses.
type addressed struct {
	net.Conn
	local, remote net.Addr
}

func (a addressed) LocalAddr() net.Addr  { return a.local }
func (a addressed) RemoteAddr() net.Addr { return a.remote }
