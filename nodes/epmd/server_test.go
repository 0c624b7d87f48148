package epmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/hush"
	"github.com/cnode-go/cnode/transport"
)

// framed puts the header before a request.
func framed(body string) []byte {
	return append([]byte{byte(len(body) >> 8), byte(len(body))}, body...)
}

// ask sends raw bytes on a new connection and reads to the end of the stream.
func ask(t testing.TB, addr string, raw []byte) string {
	t.Helper()
	conn := dial(t, addr)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	write(t, conn, raw)
	b, err := io.ReadAll(conn)
	// the server did not read all that was sent
	if !errors.Is(transport.PosixError(err), syscall.ECONNRESET) {
		require.NoError(t, err)
	}
	return string(b)
}

// A name given up is free for the next request, however slowly the server notices by itself.
func TestServerNeverRefusesANameJustGivenUp(t *testing.T) {
	c := &Client{Addr: startServer(t, &Server{})}
	var last uint32
	for range 300 {
		r := register(t, c, Registration{Name: "abc", Port: 1})
		if last != 0 {
			require.Equal(t, last+1, r.Creation)
		}
		last = r.Creation
		require.NoError(t, r.Close())
	}
}

// Nor does it list one, even if its session has not run yet since the connection ended.
func TestServerListsNoNameJustGivenUp(t *testing.T) {
	addr := startServer(t, &Server{})
	c := &Client{Addr: addr}
	for range 300 {
		var conn net.Conn
		dial := func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, addr)
			return conn, err
		}
		r := register(t, &Client{Addr: addr, Dial: dial}, Registration{Name: "abc", Port: 1})
		require.NoError(t, conn.Close())
		_, names, err := c.Names(t.Context(), "")
		require.NoError(t, err)
		require.Empty(t, names)
		<-r.Done()
	}
}

// sightlessListener has connections whose state only their reader can see, like those of Windows.
type sightlessListener struct{ net.Listener }

func (l sightlessListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return addressed{c, c.LocalAddr(), c.RemoteAddr()}, nil
}

// A name is free once its holder sees the end of the connection, so the holder may wait for that. A
// half-closed connection counts as ended.
func TestServerFreesTheNameBeforeItCloses(t *testing.T) {
	l := listen(t)
	serve(t, &Server{}, sightlessListener{l})
	addr := l.Addr().String()
	for range 300 {
		conn := dial(t, addr)
		write(t, conn, framed(string(alive2("abc", ""))))
		var answer [6]byte
		_, err := io.ReadFull(conn, answer[:])
		require.NoError(t, err)
		require.Zero(t, answer[1], "the name is not free")
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		_, err = conn.Read(answer[:])
		require.Equal(t, io.EOF, err)
		require.NoError(t, conn.Close())
	}
}

// keptOpen sends a request and gives its answer of n bytes and whether the connection is still open
// then.
func keptOpen(t *testing.T, addr string, body string, n int) (answer string, conn net.Conn) {
	t.Helper()
	conn = dial(t, addr)
	t.Cleanup(func() { conn.Close() })
	write(t, conn, framed(body))
	b := make([]byte, n)
	_, err := io.ReadFull(conn, b)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	var ne net.Error
	require.True(t, errors.As(err, &ne) && ne.Timeout(), "connection ended: %v", err)
	return string(b), conn
}

func TestServerFreesThePortBeforeItSaysKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		served := serving(new(Server), l)
		conn := pipeTo(t, l)
		write(t, conn, framed("k"))
		synctest.Wait()
		_, err := l.Dial(t.Context(), "", "")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, "OK", string(answer))
		require.ErrorIs(t, <-served, errKilled)
		conn.Close()
	})
}

// foreignListener makes every peer seem to be elsewhere.
type foreignListener struct {
	net.Listener
	local, remote string
}

func (l foreignListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	local := net.ParseIP(l.local)
	if four := local.To4(); four != nil {
		local = four // IPv4 addresses come in two forms, which must be equal
	}
	return addressed{c, &net.TCPAddr{IP: local, Port: 1}, &net.TCPAddr{IP: net.ParseIP(l.remote), Port: 2}}, nil
}

func TestServerTakesCommandsFromItsOwnMachineOnly(t *testing.T) {
	for _, tt := range []struct {
		local, remote string
		want          bool
	}{
		{"127.0.0.1", "127.0.0.1", true},
		{"10.0.0.1", "127.255.3.4", true},
		{"::1", "::1", true},
		{"::ffff:10.0.0.1", "::ffff:127.0.0.1", true},
		{"10.0.0.1", "10.0.0.1", true},
		{"10.0.0.1", "::ffff:10.0.0.1", true},
		{"fe80::1", "fe80::1", true},
		{"10.0.0.1", "10.0.0.2", false},
		{"127.0.0.1", "10.0.0.2", false},
		{"fe80::1", "fe80::2", false},
		{"::1", "::2", false},
	} {
		t.Run(tt.remote+" to "+tt.local, func(t *testing.T) {
			l := listen(t)
			s := &Server{Relaxed: true}
			serve(t, s, foreignListener{l, tt.local, tt.remote})
			addr := l.Addr().String()
			c := &Client{Addr: addr}

			_, _, err := c.Names(t.Context(), "")
			require.NoError(t, err, "everybody may ask for names")
			_, err = c.Resolve(t.Context(), "", "abc")
			require.ErrorIs(t, err, ErrNotRegistered, "and for a node")
			r, err := c.Register(t.Context(), Registration{Name: "abc", Port: 1})
			if tt.want {
				require.NoError(t, err)
				defer r.Close()
			} else {
				require.ErrorIs(t, err, ErrNoAnswer)
			}
			_, err = c.Dump(t.Context())
			require.Equal(t, tt.want, err == nil)
			require.Equal(t, tt.want, c.Stop(t.Context(), "abc") == nil)
			if !tt.want {
				require.ErrorIs(t, c.Kill(t.Context()), ErrNoAnswer)
			}
		})
	}
	require.True(t, isLocal(addressed{nil, &net.UnixAddr{Net: "unix"}, &net.UnixAddr{Net: "unix"}}))
	ours, theirs := net.Pipe()
	require.False(t, isLocal(ours), "what cannot be known is not trusted")
	ours.Close()
	theirs.Close()
}

func TestServerLimitsConnections(t *testing.T) {
	addr := startServer(t, &Server{MaxConns: 2})
	c := &Client{Addr: addr}
	a := register(t, c, Registration{Name: "a", Port: 1})
	b := register(t, c, Registration{Name: "b", Port: 1})
	_, err := c.Register(t.Context(), Registration{Name: "c", Port: 1})
	require.ErrorIs(t, err, ErrNameTaken)
	_, err = c.Resolve(t.Context(), "", "a")
	require.NoError(t, err, "requests are answered all the same")
	require.NoError(t, b.Close())
	require.Eventually(t, func() bool {
		b, err = c.Register(t.Context(), Registration{Name: "c", Port: 1})
		return err == nil
	}, 10*time.Second, time.Millisecond, "there is room again")
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
}

// Connections that send nothing, or next to nothing, make room for others, the oldest first.
// Connections that hold a name stay.
func TestServerEndsTheOldestForWantOfRoom(t *testing.T) {
	for _, tt := range []struct {
		name string
		// MaxConns; connections for which there is room; connections for which there is none
		limit, before, too int
	}{
		{"others than registrations", 0, maxNameless, 70},
		{"all", 5, 3, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				l := newPipeListener()
				s := &Server{MaxConns: tt.limit, Logger: slog.New(slog.NewTextHandler(&log, nil))}
				serve(t, s, l)
				c := &Client{Addr: "127.0.0.1:4369", Dial: l.Dial}
				for _, name := range []string{"a", "b"} {
					r := register(t, c, Registration{Name: name, Port: 1})
					defer func() { require.NoError(t, r.Err()); require.NoError(t, r.Close()) }()
				}
				var conns []net.Conn
				for i := range tt.before + tt.too {
					conn := pipeTo(t, l)
					defer conn.Close()
					conns = append(conns, conn)
					if i%2 == 0 {
						write(t, conn, []byte{0})
					}
					synctest.Wait()
				}
				resolve(t, c, "a")
				synctest.Wait()
				for i, conn := range conns {
					// an error where the other end is closed
					_ = conn.SetReadDeadline(time.Now().Add(time.Nanosecond))
					_, err := conn.Read(make([]byte, 1))
					require.Equal(t, i <= tt.too, errors.Is(err, io.EOF), "connection %d: %v", i, err)
				}
				closed := min(tt.too+1, hush.PerSecond)
				require.Equal(t, closed, strings.Count(log.String(), "no room"), log.String())

				time.Sleep(time.Second)
				for range 2 * hush.PerSecond {
					conn := pipeTo(t, l)
					defer conn.Close()
				}
				synctest.Wait()
				require.Equal(t, closed+hush.PerSecond, strings.Count(log.String(), "no room"))
			})
		})
	}
}

// A connection whose registration was refused is kept open until its place is needed. A connection
// that the server ends is not logged as a fault of the peer.
func TestServerEndsRefusedRegistrationsForWantOfRoom(t *testing.T) {
	var log bytes.Buffer
	s := &Server{MaxConns: 2, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	addr := startServer(t, s)
	keptOpen(t, addr, string(alive2("abc", "")), 6)
	_, refused := keptOpen(t, addr, string(alive2("abc", "")), 6)
	half := dial(t, addr)
	defer half.Close()
	write(t, half, []byte{0})
	require.NotEmpty(t, ask(t, addr, framed("zabc")))
	for _, conn := range []net.Conn{refused, half} {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err := conn.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
	require.NoError(t, s.Close())
	require.Contains(t, log.String(), "no room")
	require.NotContains(t, log.String(), "incomplete")
}

// A readyListener has accepted already.
type readyListener struct {
	net.Listener
	conns []net.Conn
}

func (l *readyListener) Accept() (net.Conn, error) {
	if len(l.conns) == 0 {
		return l.Listener.Accept()
	}
	conn := l.conns[0]
	l.conns = l.conns[1:]
	return conn, nil
}

// However many clients ask at once, as after a freeze, all that have sent their requests are
// answered.
func TestServerAnswersACrowd(t *testing.T) {
	need.Descriptors(t, 1200)
	// so that no session answers while the server accepts
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l := listen(t)
	ready := &readyListener{Listener: l}
	var asking []net.Conn
	for range 4 * maxNameless {
		conn := dial(t, l.Addr().String())
		defer conn.Close()
		write(t, conn, framed("zabc"))
		accepted, err := l.Accept()
		require.NoError(t, err)
		asking, ready.conns = append(asking, conn), append(ready.conns, accepted)
	}
	serve(t, &Server{}, ready)
	for i, conn := range asking {
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		answer, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, "w\x01", string(answer), "connection %d", i)
	}
}

func TestServerOnSeveralListeners(t *testing.T) {
	s := &Server{Port: 4321}
	one, two := startServer(t, s), startServer(t, s)
	r := register(t, &Client{Addr: one}, Registration{Name: "abc", Port: 1})
	resolve(t, &Client{Addr: two}, "abc")
	port, _, err := (&Client{Addr: two}).Names(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, 4321, port)
	require.NoError(t, r.Close())
}

func TestServerLogs(t *testing.T) {
	var log bytes.Buffer
	s := &Server{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	addr := startServer(t, s)
	c := &Client{Addr: addr}
	r := register(t, c, Registration{Name: "abc", Port: 1})
	require.ErrorIs(t, c.Kill(t.Context()), ErrNotAllowed)
	require.NoError(t, r.Close())
	require.Empty(t, ask(t, addr, framed("q")))
	require.Empty(t, ask(t, addr, []byte{0, 0}))
	for _, part := range []string{"", "\x00"} { // a client that sends nothing has asked for nothing
		conn := dial(t, addr)
		_, err := io.WriteString(conn, part)
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		_, err = conn.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		require.NoError(t, conn.Close())
	}
	require.NoError(t, s.Close())
	for _, part := range []string{"level=INFO msg=registered name=abc", "level=WARN msg=\"kill with names registered\"",
		"level=INFO msg=unregistered name=abc", "tag=KILL_REQ", "level=WARN msg=\"bad request\" error=\"malformed request: tag 113\"",
		"level=WARN msg=\"bad length\" length=0 received=0", "level=WARN msg=\"incomplete request\" received=1 error=EOF"} {
		require.Contains(t, log.String(), part)
	}
	require.Equal(t, 1, strings.Count(log.String(), "incomplete"))
}

// A port scanner does not fill the log.
func TestServerBoundsItsWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := newPipeListener()
		serve(t, &Server{Logger: slog.New(slog.NewTextHandler(&log, nil))}, l)
		for second := 1; second < 4; second++ {
			for range 3 * hush.PerSecond {
				conn := pipeTo(t, l)
				write(t, conn, framed("q"))
				synctest.Wait()
				require.NoError(t, conn.Close())
			}
			require.Equal(t, second*hush.PerSecond, strings.Count(log.String(), "bad request"))
			time.Sleep(time.Second)
		}
	})
}

// Many clients at once: each must see its own name, and none may get a name that another client
// holds.
func TestServerManyClients(t *testing.T) {
	c := &Client{Addr: startServer(t, &Server{})}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				name := fmt.Sprint("n", (i+j)%4)
				r, err := c.Register(t.Context(), Registration{Name: name, Port: uint16(i + 1)})
				if errors.Is(err, ErrNameTaken) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				info, err := c.Resolve(t.Context(), "", name)
				if err != nil || int(info.Port) != i+1 {
					t.Errorf("%s: port %d of client %d: %v", name, info.Port, i, err)
				}
				r.Close()
			}
		})
	}
	wg.Wait()
	_, names, err := c.Names(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, names)
}
