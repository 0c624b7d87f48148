package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/party"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// opened opens a socket as a service manager does, which keeps it: at is its address.
func opened(t *testing.T, network, address string) (f *os.File, at string) {
	t.Helper()
	var socket interface{ File() (*os.File, error) }
	var closer interface{ Close() error }
	if network == "udp" {
		c, err := net.ListenPacket(network, address)
		require.NoError(t, err)
		socket, closer, at = c.(*net.UDPConn), c, c.LocalAddr().String()
	} else {
		l, err := net.Listen(network, address)
		require.NoError(t, err)
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		socket, closer, at = l.(interface{ File() (*os.File, error) }), l, l.Addr().String()
	}
	f, err := socket.File()
	require.NoError(t, err)
	require.NoError(t, closer.Close())
	t.Cleanup(func() { f.Close() })
	return f, at
}

// managed is the command by which serve starts with this number of sockets.
func managed(sockets int, flags ...string) []string {
	script := fmt.Sprintf(`LISTEN_PID=$$ LISTEN_FDS=%d exec "$0" serve --name up@127.0.0.1 "$@"`, sockets)
	return append([]string{"/bin/sh", "-c", script, program}, flags...)
}

// A socket that the service manager has opened is used, by one process or by a front, over each
// transport, and stays in use.
func TestServeUsesActivatedSocket(t *testing.T) {
	certs := filepath.Join(t.TempDir(), "tls")
	require.Equal(t, exitOK, execute(t, nil, "certs", certs).code)
	for name, flags := range map[string][]string{
		"tcp":  {"--transport", "tcp"},
		"tls":  {"--transport", "tls", "--tls-optfile", filepath.Join(certs, "ssl_dist.conf")},
		"unix": {"--transport", "unix"},
	} {
		for _, workers := range []string{"0", "2"} {
			t.Run(name+", workers "+workers, func(t *testing.T) {
				w := newHome(t, 0)
				network, address := "tcp", "127.0.0.1:0"
				if name == "unix" {
					network, address = "unix", filepath.Join(w.home, "up@127.0.0.1")
				}
				f, at := opened(t, network, address)
				s := w.successive([]*os.File{f}, managed(1, append(flags, "--workers", workers)...)...)
				front := s.cmd.Process.Pid
				endsWithTest(t, front)
				ping := append([]string{"ping", s.name}, flags...)
				if name == "unix" {
					require.Equal(t, at, s.place)
					ping = append(ping, "--listen", "unix:"+at)
				} else {
					_, port, err := net.SplitHostPort(at)
					require.NoError(t, err)
					require.Equal(t, port, s.place)
					require.Contains(t, w.succeed("names"), "name up at port "+port+"\n")
				}
				require.Equal(t, "pong\n", w.succeed(ping...))
				front = s.upgrade(front)
				endsWithTest(t, front)
				require.Equal(t, "pong\n", w.succeed(ping...))
				require.NoError(t, syscall.Kill(front, syscall.SIGTERM))
				require.Eventually(t, func() bool { return party.Ended(front) }, waitLimit, 10*time.Millisecond)
				if name == "unix" {
					require.FileExists(t, at) // the socket belongs to the service manager
				}
			})
		}
	}
}

// The sockets that follow the first one are for --also, in its order; an address without one is
// opened by serve.
func TestActivatedAlso(t *testing.T) {
	for _, workers := range []string{"0", "2"} {
		t.Run("workers "+workers, func(t *testing.T) {
			w := newHome(t, 0)
			w.succeed("certs", filepath.Join(w.home, "tls"))
			conf := filepath.Join(w.home, "tls", "ssl_dist.conf")
			first, at := opened(t, "tcp", "127.0.0.1:0")
			second, atTLS := opened(t, "tcp", "127.0.0.1:0")
			s := w.successive([]*os.File{first, second}, managed(2, "--listen", at, "--workers", workers, "--tls-optfile", conf,
				"--also", "tls:"+atTLS, "--also", "unix:"+w.home+"/rest")...)
			front := s.cmd.Process.Pid
			endsWithTest(t, front)
			tls, err := tlstransport.FromOptFile(conf, nil)
			require.NoError(t, err)
			reached := func() {
				require.Equal(t, "also tls:"+atTLS, <-s.lines)
				require.Equal(t, "also unix:"+w.home+"/rest", <-s.lines)
				for i, e := range []struct {
					tr   transport.Transport
					addr string
				}{{transport.TCP(), at}, {tls, atTLS}, {transport.Unix(), "unix:" + w.home + "/rest"}} {
					addr, err := transport.ParseAddr(e.addr)
					require.NoError(t, err)
					n, err := nodes.New(nodes.Config{
						Name: fmt.Sprintf("client%d@127.0.0.1", i), Cookie: testCookie, Resolver: nodes.Static{s.name: {Addr: addr, Transport: e.tr}},
					})
					require.NoError(t, err)
					_, err = n.Connect(t.Context(), s.name)
					require.NoError(t, err, e.addr)
					require.NoError(t, n.Close())
				}
			}
			reached()
			front = s.upgrade(front)
			endsWithTest(t, front)
			reached()
		})
	}
}

// Sockets that do not fit are reported before the node is reported as ready.
func TestActivatedRefuses(t *testing.T) {
	dir := sockdir.New(t)
	tcp, at := opened(t, "tcp", "127.0.0.1:0")
	other, _ := opened(t, "tcp", "127.0.0.1:0")
	udp, _ := opened(t, "udp", "127.0.0.1:0")
	local, _ := opened(t, "unix", filepath.Join(dir, "local"))
	packets, _ := opened(t, "unixpacket", filepath.Join(dir, "packets"))
	c, err := net.Dial("tcp", at)
	require.NoError(t, err)
	defer c.Close()
	connected, err := c.(*net.TCPConn).File()
	require.NoError(t, err)
	defer connected.Close()
	no, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer no.Close()
	elsewhere := "unix:" + filepath.Join(sockdir.New(t), "x")
	for _, tt := range []struct {
		name    string
		sockets []*os.File
		flags   []string
		want    string
	}{
		{"more than there are flags", []*os.File{tcp, other}, nil, "there are 2, for Config.Listen and 0 addresses of Config.Also"},
		{"none", nil, nil, `LISTEN_FDS is "0"`},
		{"no socket", []*os.File{no}, nil, "descriptor 3 (first), for --transport tcp"},
		{"a datagram socket", []*os.File{udp}, nil, "not one of streams"},
		{"a socket of packets", []*os.File{packets}, []string{"--transport", "unix"}, "not one of streams"},
		{"a connection", []*os.File{connected}, nil, "does not listen"},
		{"a UNIX socket for TCP", []*os.File{local}, nil, "no IP socket"},
		{"a TCP socket for UNIX", []*os.File{tcp}, []string{"--transport", "unix"}, "no UNIX socket"},
		{"another address", []*os.File{tcp}, []string{"--listen", "127.0.0.1:1"}, "it is at " + at + ", not at 127.0.0.1:1"},
		{"another path", []*os.File{local}, []string{"--transport", "unix", "--listen", elsewhere}, "not at " + elsewhere},
		{"another order", []*os.File{other, tcp}, []string{"--listen", at, "--also", "tcp:127.0.0.1:1"},
			"descriptor 3 (first), for --transport tcp"},
		{"another address of the second", []*os.File{other, tcp}, []string{"--also", "tcp:127.0.0.1:1"},
			"descriptor 4 (second), for --also tcp:127.0.0.1:1: it is at " + at},
		{"another kind of the second", []*os.File{tcp, local}, []string{"--also", "tcp:127.0.0.1:1"}, "descriptor 4 (second)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newHome(t, 0)
			ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
			defer cancel()
			command := managed(len(tt.sockets), tt.flags...)
			cmd := exec.CommandContext(ctx, command[0], command[1:]...)
			var out, errOut bytes.Buffer
			cmd.Env, cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = append(w.env, noPause, "LISTEN_FDNAMES=first:second"), tt.sockets, &out, &errOut
			var exit *exec.ExitError
			require.True(t, errors.As(cmd.Run(), &exit))
			require.Equal(t, exitFailed, exit.ExitCode(), &errOut)
			require.Empty(t, out.String())
			require.Contains(t, errOut.String(), nodes.ErrActivation.Error())
			require.Contains(t, errOut.String(), tt.want)
			require.Contains(t, errOut.String(), "ListenStream=")
		})
	}
}
