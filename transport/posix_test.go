package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// Each number of winsock is known by its POSIX name as well, however it is wrapped; and no number
// of another system is taken for one.
func TestPosixError(t *testing.T) {
	for name, tt := range map[string]struct{ winsock, posix syscall.Errno }{
		"WSAEBADF":           {10009, syscall.EBADF},
		"WSAEACCES":          {10013, syscall.EACCES},
		"WSAEFAULT":          {10014, syscall.EFAULT},
		"WSAEINVAL":          {10022, syscall.EINVAL},
		"WSAEMFILE":          {10024, syscall.EMFILE},
		"WSAEWOULDBLOCK":     {10035, 0},
		"WSAENOTSOCK":        {10038, syscall.ENOTSOCK},
		"WSAEDESTADDRREQ":    {10039, syscall.EDESTADDRREQ},
		"WSAEMSGSIZE":        {10040, syscall.EMSGSIZE},
		"WSAENOPROTOOPT":     {10042, syscall.ENOPROTOOPT},
		"WSAEPROTONOSUPPORT": {10043, syscall.EPROTONOSUPPORT},
		"WSAEOPNOTSUPP":      {10045, syscall.EOPNOTSUPP},
		"WSAEAFNOSUPPORT":    {10047, syscall.EAFNOSUPPORT},
		"WSAEADDRINUSE":      {10048, syscall.EADDRINUSE},
		"WSAEADDRNOTAVAIL":   {10049, syscall.EADDRNOTAVAIL},
		"WSAENETDOWN":        {10050, syscall.ENETDOWN},
		"WSAENETUNREACH":     {10051, syscall.ENETUNREACH},
		"WSAENETRESET":       {10052, syscall.ENETRESET},
		"WSAECONNABORTED":    {10053, syscall.ECONNABORTED},
		"WSAECONNRESET":      {10054, syscall.ECONNRESET},
		"WSAENOBUFS":         {10055, syscall.ENOBUFS},
		"WSAEISCONN":         {10056, syscall.EISCONN},
		"WSAENOTCONN":        {10057, syscall.ENOTCONN},
		"WSAESHUTDOWN":       {10058, syscall.EPIPE},
		"WSAETIMEDOUT":       {10060, syscall.ETIMEDOUT},
		"WSAECONNREFUSED":    {10061, syscall.ECONNREFUSED},
		"WSAEHOSTDOWN":       {10064, syscall.EHOSTDOWN},
		"WSAEHOSTUNREACH":    {10065, syscall.EHOSTUNREACH},
		"of no socket":       {2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			of := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("wsarecv", tt.winsock)}
			err := PosixError(of)
			if tt.posix == 0 {
				require.Same(t, of, err)
				return
			}
			require.ErrorIs(t, err, tt.posix)
			require.ErrorIs(t, err, tt.winsock)
			require.ErrorIs(t, err, error(of))
			require.EqualError(t, err, of.Error())
			code := expect.As[syscall.Errno](t, err)
			require.Equal(t, tt.posix, code)
			require.Equal(t, err, PosixError(err), "once is enough")
			require.Equal(t, tt.posix == syscall.ETIMEDOUT, opError("read", nil, err).(net.Error).Timeout())
		})
	}
	for code := range syscall.Errno(10000) {
		require.Zero(t, posix(code))
	}
	require.NoError(t, PosixError(nil))
	require.Equal(t, io.EOF, PosixError(io.EOF))
}

// An error of a net.Conn or a net.Listener of windows comes out of each call of FromNet's Transport
// with its POSIX name.
func TestFromNetOnWindows(t *testing.T) {
	winsock := func(code syscall.Errno) error {
		return &net.OpError{Op: "x", Net: "tcp", Err: os.NewSyscallError("wsax", code)}
	}
	refuses := FromNet(Net{
		Listen: func(Addr) (net.Listener, error) { return nil, winsock(10048) },
		Dial:   func(context.Context, Addr) (net.Conn, error) { return nil, winsock(10061) },
	})
	require.ErrorIs(t, expect.Err(refuses.Listen(loopback(), 0)), syscall.EADDRINUSE)
	require.ErrorIs(t, expect.Err(refuses.Connect(soon(t), loopback())), syscall.ECONNREFUSED)

	// A listener goes on after a connection that was reset in the backlog, and after a lack of
	// descriptors.
	n := overTCP()
	listen := n.Listen
	n.Listen = func(a Addr) (net.Listener, error) {
		l, err := listen(a)
		return &failingListener{l.(*net.TCPListener), []error{winsock(10053), winsock(10024)}}, err
	}
	dial := n.Dial
	n.Dial = func(ctx context.Context, a Addr) (net.Conn, error) {
		c, err := dial(ctx, a)
		return failingConn{c, winsock(10054)}, err
	}
	c, _ := pair(t, FromNet(n), loopback())
	require.ErrorIs(t, expect.Err(c.Read(soon(t), make([]byte, 1))), syscall.ECONNRESET)
	require.ErrorIs(t, c.CloseWrite(), syscall.ECONNRESET)
	require.ErrorIs(t, expect.Err(c.Writev(soon(t), []byte("x"))), syscall.ECONNRESET)
}

// A failingListener fails at its first Accepts.
type failingListener struct {
	*net.TCPListener
	errs []error
}

func (l *failingListener) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	return l.TCPListener.Accept()
}

// A failingConn does nothing but fail.
type failingConn struct {
	net.Conn
	err error
}

func (c failingConn) Read([]byte) (int, error)  { return 0, c.err }
func (c failingConn) Write([]byte) (int, error) { return 0, c.err }
func (c failingConn) CloseWrite() error         { return c.err }

func ExamplePosixError() {
	// as package net gives it on windows
	err := PosixError(os.NewSyscallError("wsarecv", syscall.Errno(10054)))
	fmt.Println(errors.Is(err, syscall.ECONNRESET))
	// Output: true
}
