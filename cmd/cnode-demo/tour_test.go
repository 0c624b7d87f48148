package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/test/otp"
	"github.com/stretchr/testify/require"
)

// The tour works where there is nothing at all: no PATH, no home, no variable.
func TestTourAlone(t *testing.T) {
	temp := t.TempDir()
	r := execute(t, []string{"PATH=", "TMPDIR=" + temp, "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")})
	require.Zero(t, r.code, r.err)
	require.Empty(t, r.err)
	for _, want := range []string{
		"->  {welcome,<<\"alice\">>}\n", "->  42\n", "->  {badrpc,{'EXIT',{{go_error,<<\"one is no integer\">>},[]}}}\n", "->  1\n", "->  2\n",
		"->  {'DOWN',Ref,process,Pid,{done,42}}\n", "Then a new process began,\n", "There is no erl on the PATH", "->  {nodedown,'bob@127.0.0.1'}\n", "cnode-demo serve --name",
	} {
		require.Contains(t, r.out, want)
	}
	lines := strings.Count(r.out, "\n")
	require.True(t, 25 <= lines && lines <= 43, "%d lines", lines)
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestTourWithErlang(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		temp := shortDir(t)
		took := execute(t, []string{"PATH=" + filepath.Dir(r.Erl) + string(os.PathListSeparator) + os.Getenv("PATH"), "TMPDIR=" + temp})
		require.Zero(t, took.code, took.err)
		require.Contains(t, took.out, "A real Erlang node joined")
		require.Contains(t, took.out, `[otp_release]) ->  "`+strings.TrimPrefix(r.String(), "otp")+`"`)
		require.Contains(t, took.out, "->  pong\n")
		require.Contains(t, took.out, "->  {'DOWN',Ref,process,Pid,gone_home}\n")
		require.LessOrEqual(t, strings.Count(took.out, "\n"), 43)
		left, err := os.ReadDir(temp)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// An erl that does not work does not break the tour, whichever way it does not.
func TestTourWithBrokenErlang(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a broken erl is made of a shell script")
	}
	for _, tt := range []struct{ name, script, want string }{
		{"fails", "echo no such thing; exit 3", `no Erlang node came of it: it ended (exit status 3): "no such thing"`},
		{"says nothing", "exit 0", `it ended (exit status 0): ""`},
		{"hangs", "exec sleep 100", "it took more than 500ms"},
		{"hangs with a child", "sleep 2 & wait", "it took more than 500ms"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "erl"), []byte("#!/bin/sh\n"+tt.script+"\n"), 0o700))
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			var out bytes.Buffer
			require.NoError(t, runTour(t.Context(), 500*time.Millisecond, slog.New(slog.DiscardHandler), &out))
			require.Contains(t, out.String(), tt.want)
			require.Contains(t, out.String(), "->  {nodedown,'bob@127.0.0.1'}\n")
		})
	}
}
