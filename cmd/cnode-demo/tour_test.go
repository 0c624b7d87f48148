package main

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/test/otp"
	"github.com/cnode-go/cnode/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// A tapped line records all that goes over it to the other end, and cutting it ends the connection
// for both ends.
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
		require.NoError(t, c.SetDeadline(time.Now().Add(waitLimit)))
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
	require.Equal(t, "one", string(line.close()))
	for _, c := range []net.Conn{near, end} {
		_, err := c.Read(p)
		require.Error(t, err)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}

	unused, err := tapLine(transport.FromNetAddr(far.Addr()))
	require.NoError(t, err)
	require.Empty(t, unused.close())
}

// The tour works without any environment: no PATH, no home, no variable.
func TestTourAlone(t *testing.T) {
	temp := t.TempDir()
	r := execute(t, []string{"PATH=", "TMPDIR=" + temp, "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")})
	require.Zero(t, r.code, r.err)
	require.Empty(t, r.err)
	for _, want := range []string{
		"in clear: \"key is under the mat\"\n", "nothing to read: … ", "The same over TLS 1.3 (TLS_", "->  pang, refused: no certificate\n",
		"A TLS session can move too",
		"->  {welcome,<<\"alice\">>}\n", "->  42\n", "->  {badrpc,{'EXIT',{badarg,[{math,sum,[one],[]}," +
			`{math,sum,1,[{file,"argument 1: ei: atom one where an integer is due"},{line,0}]}]}}}` + "\n", "->  1\n", "->  2\n",
		"->  {'DOWN',Ref,process,Pid,{done,42}}\n", "Then a new process began,\n", "There is no erl on the PATH",
		"->  {nodedown,'bob@127.0.0.1'}\n", "cnode-demo serve --name",
	} {
		require.Contains(t, r.out, want)
	}
	for _, told := range []string{ // by which processes, twice
		`lived in this process, number (\d+), and alice was connected to her\. Then a new process began,\n +number (\d+), and got carol`,
		`its keys went along with its socket, from process (\d+) to (\d+),`,
	} {
		m := regexp.MustCompile(`(?s)` + told + `.*?\n[^\n]*cnode, pid, \[\]\)[^\n]* (\d+), later (\d+)\n`).FindStringSubmatch(r.out)
		require.Len(t, m, 5, "%s: not in\n%s", told, r.out)
		require.NotEqual(t, m[1], m[2])
		require.Equal(t, m[1:3], m[3:], "those that have answered")
	}
	lines := strings.Count(r.out, "\n")
	require.True(t, 30 <= lines && lines <= 66, "%d lines", lines)
	require.Equal(t, 1, strings.Count(r.out, "in clear: "), "what went over TLS was read on the line")
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestTourWithErlang(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		temp := sockdir.New(t)
		took := execute(t, []string{"PATH=" + filepath.Dir(r.Erl) + string(os.PathListSeparator) + os.Getenv("PATH"), "TMPDIR=" + temp})
		require.Zero(t, took.code, took.err)
		require.Contains(t, took.out, "A real Erlang node joined")
		require.Contains(t, took.out, `[otp_release]) ->  "`+strings.TrimPrefix(r.String(), "otp")+`"`)
		require.Contains(t, took.out, "->  pong\n")
		require.Contains(t, took.out, "->  {'DOWN',Ref,process,Pid,gone_home}\n")
		require.LessOrEqual(t, strings.Count(took.out, "\n"), 66)
		left, err := os.ReadDir(temp)
		require.NoError(t, err)
		require.Empty(t, left)
	})
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
		{"fails", "echo no such thing; exit 3", waitLimit, `no Erlang node came of it: it ended (exit status 3): "no such thing"`},
		{"says nothing", "exit 0", waitLimit, `it ended (exit status 0): ""`},
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
