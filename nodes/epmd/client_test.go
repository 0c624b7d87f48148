package epmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/transport"
)

// calls has each request of a Client, for tests of what all have in common.
var calls = []struct {
	op, name string
	call     func(context.Context, *Client) error
}{
	{"register", "abc", func(ctx context.Context, c *Client) error {
		_, err := c.Register(ctx, Registration{Name: "abc", Port: 1})
		return err
	}},
	{"register", "abc", func(ctx context.Context, c *Client) error {
		_, err := c.Keep(ctx, Registration{Name: "abc", Port: 1}, nil)
		return err
	}},
	{"resolve", "abc", func(ctx context.Context, c *Client) error { _, err := c.Resolve(ctx, "", "abc"); return err }},
	{"names", "", func(ctx context.Context, c *Client) error { _, _, err := c.Names(ctx, ""); return err }},
	{"dump", "", func(ctx context.Context, c *Client) error { _, err := c.Dump(ctx); return err }},
	{"kill", "", func(ctx context.Context, c *Client) error { return c.Kill(ctx) }},
	{"stop", "abc", func(ctx context.Context, c *Client) error { return c.Stop(ctx, "abc") }},
}

func everyCall(t *testing.T, test func(t *testing.T, call func(context.Context, *Client) error) error) {
	for i, tt := range calls {
		t.Run(fmt.Sprint(i, tt.op), func(t *testing.T) {
			err := test(t, tt.call)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tt.op, e.Op)
			require.Equal(t, tt.name, e.Name)
		})
	}
}

func TestNoPortMapper(t *testing.T) {
	addr := port.Vacant(t)
	everyCall(t, func(t *testing.T, call func(context.Context, *Client) error) error {
		err := call(t.Context(), &Client{Addr: addr})
		require.ErrorIs(t, err, ErrNoPortMapper)
		require.ErrorIs(t, err, ErrUnreachable)
		var ne net.Error
		require.True(t, errors.As(err, &ne) && !ne.Timeout())
		for _, part := range []string{addr, "epmd -daemon", "embedded"} {
			require.ErrorContains(t, err, part, "the message must say where and what to do")
		}
		require.NotContains(t, err.Error(), "ERL_EPMD_PORT", "which a client with an address does not read")
		return err
	})
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	t.Setenv("ERL_EPMD_PORT", port)
	require.ErrorContains(t, (&Client{}).Kill(t.Context()), "ERL_EPMD_PORT")
}

// Windows has an error number of its own for a refused connection.
func TestNoPortMapperOnWindows(t *testing.T) {
	refused := os.NewSyscallError("connectex", syscall.Errno(10061))
	c := &Client{Addr: "host:4369", Dial: func(context.Context, string, string) (net.Conn, error) { return nil, refused }}
	err := c.Kill(t.Context())
	require.ErrorIs(t, err, ErrNoPortMapper)
	require.ErrorIs(t, err, refused)
}

func TestOtherDialErrorsAreNotAnAbsentPortMapper(t *testing.T) {
	cause := errors.New("no route")
	c := &Client{Addr: "host:4369", Dial: func(context.Context, string, string) (net.Conn, error) { return nil, cause }}
	err := c.Kill(t.Context())
	require.ErrorIs(t, err, cause)
	require.ErrorIs(t, err, ErrUnreachable)
	require.NotErrorIs(t, err, ErrNoPortMapper)
}

func TestSilentPortMapper(t *testing.T) {
	addr := fakeMapper(t, silent)
	t.Run("timeout", func(t *testing.T) {
		everyCall(t, func(t *testing.T, call func(context.Context, *Client) error) error {
			err := call(t.Context(), &Client{Addr: addr, Timeout: 20 * time.Millisecond})
			require.ErrorIs(t, err, ErrTimeout)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			require.NotErrorIs(t, err, net.ErrClosed)
			var ne net.Error
			require.True(t, errors.As(err, &ne) && ne.Timeout())
			return err
		})
	})
	t.Run("deadline of the context", func(t *testing.T) {
		everyCall(t, func(t *testing.T, call func(context.Context, *Client) error) error {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			err := call(ctx, &Client{Addr: addr, Timeout: -1})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, ErrTimeout)
			var ne net.Error
			require.True(t, errors.As(err, &ne) && ne.Timeout())
			return err
		})
	})
	t.Run("cancelled", func(t *testing.T) {
		everyCall(t, func(t *testing.T, call func(context.Context, *Client) error) error {
			ctx, cancel := context.WithCancel(t.Context())
			c := &Client{Addr: addr, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				time.AfterFunc(10*time.Millisecond, cancel)
				return conn, err
			}}
			err := call(ctx, c)
			require.ErrorIs(t, err, context.Canceled)
			return err
		})
	})
	t.Run("cancelled before", func(t *testing.T) {
		everyCall(t, func(t *testing.T, call func(context.Context, *Client) error) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := call(ctx, &Client{Addr: addr})
			require.ErrorIs(t, err, context.Canceled)
			return err
		})
	})
}

// A Client without a Timeout waits for a silent port mapper for DefaultTimeout and no longer.
func TestDefaultTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go silent(theirs)
		c := &Client{Addr: "127.0.0.1:4369", Dial: func(context.Context, string, string) (net.Conn, error) { return ours, nil }}
		start := time.Now()
		_, err := c.Resolve(t.Context(), "", "abc")
		require.ErrorIs(t, err, ErrTimeout)
		require.Equal(t, DefaultTimeout, time.Since(start))
	})
}

// A passed is a context whose deadline has passed, but whose Err does not report that yet.
type passed struct{ context.Context }

func (passed) Deadline() (time.Time, bool) { return time.Unix(1, 0), true }

// Package net may find that a deadline has passed before the context reports it. The error is the
// same in either case.
func TestDialFindsTheDeadlinePassedFirst(t *testing.T) {
	c := &Client{Addr: "127.0.0.1:1", Dial: func(context.Context, string, string) (net.Conn, error) { return nil, os.ErrDeadlineExceeded }}
	err := c.Kill(passed{t.Context()})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, ErrTimeout)
}

// A listing without end is not read to its end.
func TestEndlessListing(t *testing.T) {
	ours, theirs := net.Pipe()
	sent := make(chan int, 1)
	go func() {
		defer theirs.Close()
		readRequest(theirs)
		n, line := 0, bytes.Repeat([]byte("name a at port 1\n"), 4096)
		for n < 4*maxListing {
			k, err := theirs.Write(line)
			if n += k; err != nil {
				break
			}
		}
		sent <- n
	}()
	c := &Client{Addr: "127.0.0.1:4369", Dial: func(context.Context, string, string) (net.Conn, error) { return ours, nil }}
	_, _, err := c.Names(t.Context(), "")
	require.ErrorIs(t, err, ErrProtocol)
	require.Equal(t, maxListing+1, <-sent)
}

// An answer takes time, so with transport.NoWait nothing is asked.
func TestClientAsksNothingWithNoWait(t *testing.T) {
	for _, tt := range calls {
		c := &Client{Addr: "127.0.0.1:1", Dial: func(context.Context, string, string) (net.Conn, error) {
			t.Error(tt.op, "dials")
			return nil, io.EOF
		}}
		require.ErrorIs(t, tt.call(transport.NoWait(), c), os.ErrDeadlineExceeded, tt.op)
	}
}

func TestPortMapperThatHangsUp(t *testing.T) {
	for name, tt := range map[string]struct {
		serve func(net.Conn)
		err   error
	}{
		"at the end of the request": {answering(""), io.ErrUnexpectedEOF},
		"in the middle of it": {func(conn net.Conn) { // what is closed with bytes unread is reset
			_, _ = io.ReadFull(conn, make([]byte, 1))
		}, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			addr := fakeMapper(t, tt.serve)
			everyCall(t, func(t *testing.T, call func(context.Context, *Client) error) error {
				err := call(t.Context(), &Client{Addr: addr})
				var e *Error
				require.ErrorAs(t, err, &e)
				if e.Op == "stop" {
					require.ErrorIs(t, err, ErrNotAllowed)
					require.ErrorContains(t, err, "relaxed_command_check")
				} else {
					require.ErrorIs(t, err, ErrNoAnswer)
					require.ErrorIs(t, err, tt.err)
				}
				return err
			})
		})
	}
}

func TestClientRefusesLies(t *testing.T) {
	asks := map[string]func(context.Context, *Client) error{}
	for _, c := range calls {
		asks[c.op] = c.call
	}
	answer := func(name string, low, high uint16) string {
		return string(appendPortAnswer(nil, &NodeInfo{Name: name, Port: 1, Low: low, High: high}))
	}
	for _, tt := range []struct {
		name    string // begins with the request's
		answer  string
		want    error
		message string
	}{
		{"resolve: another tag", "HTTP/1.1 400 Bad Request", ErrProtocol, "tag 72 instead of PORT2_RESP"},
		{"resolve: cut off", answer("abc", 5, 6)[:14], ErrNoAnswer, "after 14 bytes"},
		{"resolve: too long", answer("abc", 5, 6) + "x", ErrProtocol, "1 bytes after its end"},
		{"resolve: unknown and too long", "w\x01\x00", ErrProtocol, "1 bytes after its end"},
		{"resolve: a flood", answer("abc", 5, 6) + strings.Repeat("x", 5000), ErrProtocol, "bytes after its end"},
		{"resolve: another node", answer("abd", 5, 6), ErrProtocol, `it is about "abd"`},
		{"resolve: a longer name", answer("abcd", 5, 6), ErrProtocol, `it is about "abcd"`},
		{"resolve: versions too high", answer("abc", 7, 8), ErrVersion, "the node speaks 7 to 8, this one 5 to 6"},
		{"resolve: unknown", "w\x01", ErrNotRegistered, "not registered"},
		{"register: another tag", "w\x00", ErrProtocol, "PORT2_RESP instead of ALIVE2_X_RESP"},
		{"register: cut off", "v\x00\x00\x00\x00", ErrNoAnswer, "after 5 bytes"},
		{"register: too long", "v\x00\x00\x00\x00\x07\x07", ErrProtocol, "1 bytes after its end"},
		{"register: 16 bits and too long", "y\x00\x00\x01\x00\x00", ErrProtocol, "2 bytes after its end"},
		{"register: creation 0", "v\x00\x00\x00\x00\x00", ErrProtocol, "creation 0"},
		{"register: refused", "v\x01\x00\x00\x00\x63", ErrNameTaken, "result 1"},
		{"register: refused in 16 bits", "y\x02\x00\x63", ErrNameTaken, "result 2"},
		{"names: cut off", "\x00\x00\x11\x11name a at p", ErrProtocol, "cut off"},
		{"names: a flood", "\x00\x00\x11\x11" + strings.Repeat("name a at port 1\n", maxListing/16), ErrProtocol, "more than"},
		{"dump: cut off", "\x00\x00\x11\x11active name", ErrProtocol, "cut off"},
		{"kill: another word", "HI", ErrProtocol, `"HI"`},
		{"kill: cut off", "O", ErrNoAnswer, "after 1 bytes"},
		{"kill: refused", "NO", ErrNotAllowed, "names are registered"},
		{"stop: another word", "SURPASS", ErrProtocol, `"SURPASS"`},
		{"stop: cut off", "STOP", ErrNoAnswer, "after 4 bytes"},
		{"stop: unknown", "NOEXISTSTOPPED", ErrNotRegistered, "not registered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			op, _, _ := strings.Cut(tt.name, ":")
			err := asks[op](t.Context(), &Client{Addr: fakeMapper(t, answering(tt.answer))})
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, tt.message)
		})
	}
}

// An answer is complete when its last byte is there: in which pieces it comes must not matter, nor
// whether the connection is closed.
func TestAnswersInPieces(t *testing.T) {
	want := NodeInfo{Name: "abc", Port: 1234, Type: TypeNormal, High: 6, Low: 5, Extra: []byte("xyz")}
	addr := fakeMapper(t, func(conn net.Conn) {
		readRequest(conn)
		for _, b := range appendPortAnswer(nil, &want) {
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
		}
		silent(conn)
	})
	require.Equal(t, want, resolve(t, &Client{Addr: addr}, "abc"))
}

func TestBadNamesAreNotSent(t *testing.T) {
	c := &Client{Addr: "127.0.0.1:1", Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialled")
		return nil, net.ErrClosed
	}}
	_, err := c.Resolve(t.Context(), "", "alice@host")
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorIs(t, c.Stop(t.Context(), ""), ErrInvalid)
	_, err = c.Register(t.Context(), Registration{Name: "a\x00", Port: 1})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = c.Register(t.Context(), Registration{Name: "a"})
	require.ErrorIs(t, err, ErrInvalid)
}

func TestClientAddress(t *testing.T) {
	var dialled string
	dial := func(_ context.Context, network, addr string) (net.Conn, error) {
		require.Equal(t, "tcp", network)
		dialled = addr
		return nil, net.ErrClosed
	}
	t.Setenv("ERL_EPMD_PORT", "1234")
	t.Setenv("ERL_EPMD_ADDRESS", "10.0.0.1")
	for _, tt := range []struct{ addr, host, want string }{
		{"", "", "127.0.0.1:1234"},
		{"", "other", "other:1234"},
		{"[::1]:99", "", "[::1]:99"},
		{"[::1]:99", "fe80::1%eth0", "[fe80::1%eth0]:99"},
	} {
		_, _, err := (&Client{Addr: tt.addr, Dial: dial}).Names(t.Context(), tt.host)
		require.ErrorIs(t, err, net.ErrClosed)
		require.Equal(t, tt.want, dialled)
	}
	for _, addr := range []string{"localhost", "localhost:epmd", "localhost:0", "localhost:65536"} {
		err := (&Client{Addr: addr, Dial: dial}).Kill(t.Context())
		require.ErrorContains(t, err, "address of the port mapper")
	}
	t.Setenv("ERL_EPMD_PORT", "x")
	require.ErrorContains(t, (&Client{Dial: dial}).Kill(t.Context()), "ERL_EPMD_PORT")
}

func TestErrorText(t *testing.T) {
	require.EqualError(t, &Error{Op: "resolve", Addr: "h:1", Name: "a b", Err: ErrNotRegistered},
		`epmd: resolve "a b" at h:1: the name is not registered`)
	require.EqualError(t, &Error{Op: "names", Err: ErrTimeout}, "epmd: names: the port mapper did not answer in time")
}
