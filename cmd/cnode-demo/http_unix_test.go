//go:build unix

package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/stretchr/testify/require"
)

// The page, the probes and the console of a node are those of the process that is the node.
func TestServeHTTP(t *testing.T) {
	w := newHome(t, 0)
	path := filepath.Join(w.home, "http")
	s := w.successive(nil, program, "serve", "--name", "seen@127.0.0.1", "--http", "unix:"+path, "--operator")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _,
		_ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	get := func(target string) (status int, body string) {
		r, err := client.Get("http://seen" + target)
		if err != nil {
			return 0, err.Error()
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return 0, err.Error()
		}
		return r.StatusCode, string(b)
	}
	shows := func(pid int) {
		t.Helper()
		require.Eventually(t, func() bool {
			_, body := get("/?view=json")
			var v struct {
				Node string
				Pid  int
			}
			return json.Unmarshal([]byte(body), &v) == nil && v.Node == s.name && v.Pid == pid
		}, waitLimit, waitLimit/600)
	}
	old := s.cmd.Process.Pid
	shows(old)
	n, c := dialed(t, w, s.name)
	status, body := get("/ready")
	require.Equal(t, http.StatusOK, status, body)
	status, body = get("/debug/pprof/goroutine?debug=1")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "goroutine profile")
	processes, err := n.RPC(t.Context(), s.name, "erlang", "processes")
	require.NoError(t, err)
	require.NotEmpty(t, processes)

	pid := s.upgrade(old)
	s.exits()
	require.Equal(t, pid, servedBy(t, c))
	shows(pid)
	memory, err := n.RPC(t.Context(), s.name, "erlang", "memory", ei.Atom("total"))
	require.NoError(t, err)
	require.NotZero(t, memory)
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	<-c.Done()
}

// An address that is taken ends serve.
func TestServeHTTPTaken(t *testing.T) {
	w := newHome(t, 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	r := w.run("serve", "--name", "taken@127.0.0.1", "--http", l.Addr().String())
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.err, "--http "+l.Addr().String()+": ")
	require.Contains(t, r.err, "address already in use")
}
