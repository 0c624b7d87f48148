package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/stretchr/testify/require"
)

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
