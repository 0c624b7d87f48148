package tour

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// A tapped line records all that goes over it to the other end, and ends with the connection.
func TestTappedLine(t *testing.T) {
	far, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer far.Close()
	line, err := tapLine(transport.FromNetAddr(far.Addr()))
	require.NoError(t, err)
	near, err := net.Dial("tcp", line.addr.String())
	require.NoError(t, err)
	defer near.Close()
	end, err := far.Accept()
	require.NoError(t, err)
	defer end.Close()
	for _, c := range []net.Conn{near, end} {
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
	}
	p := make([]byte, 3)
	_, err = near.Write([]byte("one"))
	require.NoError(t, err)
	_, err = io.ReadFull(end, p)
	require.NoError(t, err)
	require.Equal(t, "one", string(p))
	_, err = end.Write([]byte("two"))
	require.NoError(t, err)
	_, err = io.ReadFull(near, p)
	require.NoError(t, err)
	require.Equal(t, "two", string(p))
	require.NoError(t, near.Close())
	require.Equal(t, "one", string(line.close()))
	_, err = end.Read(p)
	require.ErrorIs(t, err, io.EOF)

	unused, err := tapLine(transport.FromNetAddr(far.Addr()))
	require.NoError(t, err)
	require.Empty(t, unused.close())
}

// An erl that does not work does not break the tour, in whatever way it fails.
func TestTourWithBrokenErlang(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a broken erl is made of a shell script")
	}
	for _, tt := range []struct {
		name, script string
		limit        time.Duration
		want         string
	}{
		{"fails", "echo no such thing; exit 3", time.Minute, `no Erlang node came of it: it ended (exit status 3): "no such thing"`},
		{"says nothing", "exit 0", time.Minute, `it ended (exit status 0): ""`},
		{"hangs", "exec sleep 100", 500 * time.Millisecond, "it took more than 500ms"},
		{"hangs with a child", "sleep 2 & wait", 500 * time.Millisecond, "it took more than 500ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "erl"), []byte("#!/bin/sh\n"+tt.script+"\n"), 0o700))
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			var out bytes.Buffer
			require.NoError(t, runTour(t.Context(), tt.limit, slog.New(slog.DiscardHandler), &out))
			require.Contains(t, out.String(), tt.want)
			require.Contains(t, out.String(), "->  {nodedown,'bob@127.0.0.1'}\n")
		})
	}
}
