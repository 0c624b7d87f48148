package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/config"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/stretchr/testify/require"
)

// A served node on a bad line answers as on a good one, and the file shows what went over the line.
func TestServeTraceAndFault(t *testing.T) {
	for _, kind := range []string{"tcp", "unix"} {
		t.Run(kind, func(t *testing.T) {
			w := newHome(t, 0)
			sockets := w.home + "/s/"
			flags := []string{"--transport", kind}
			if kind == "unix" {
				require.NoError(t, os.Mkdir(sockets, 0o700))
				flags = append(flags, "--listen", "unix:"+sockets)
			}
			with := func(more ...string) []string { return append(append([]string{}, flags...), more...) }
			path := func(name string) string { return filepath.Join(w.home, name) }
			s := w.serve("serve", with("--name", "served@127.0.0.1", "--trace", path("served.pcap"), "--fault", "7", "--polling", "60µs",
				"--log-level", "debug")...)
			require.Equal(t, "pong\n", w.succeed(append([]string{"ping", s.name}, flags...)...))
			require.Equal(t, "pong\n", w.succeed(append([]string{"ping", s.name, "--fault", "0", "--trace", path("ping.pcap")}, flags...)...))
			text := `[<<"` + strings.Repeat("seen", 1000) + `">>]`
			require.Equal(t, text[1:len(text)-1]+"\n", w.succeed(append([]string{"call", s.name, "cnode", "echo", text, "--trace",
				path("call.pcap")}, flags...)...))
			said := s.terminate(syscall.SIGTERM)
			require.Contains(t, said, "msg=fault kind=split")
			require.NotContains(t, said, "kind=corrupt")
			for name, want := range map[string]string{"served.pcap": "seenseen", "ping.pcap": "is_auth", "call.pcap": "seenseen"} {
				b, err := os.ReadFile(path(name))
				require.NoError(t, err)
				require.Contains(t, string(b), want, name)
				require.Contains(t, string(b), "served@127.0.0.1", name)
				info, err := os.Stat(path(name))
				require.NoError(t, err)
				if runtime.GOOS == "windows" {
					continue // which has no such permissions
				}
				require.Zero(t, info.Mode()&0o077, "others' messages are in it")
			}
			tshark := need.Program(t, "tshark") // only the checks below need it
			port := "4370"
			if kind == "tcp" {
				port = s.place
			}
			out, err := exec.CommandContext(t.Context(), tshark, "-r", path("call.pcap"), "-d", "tcp.port=="+port+",erldp", "-V").Output()
			require.NoError(t, err)
			for _, want := range []string{"Name: cnode-demo-", "Status: ok", "Name: served@127.0.0.1", "Challenge: ", "Digest: ",
				"ControlMessage", "AtomText: rex"} {
				require.Contains(t, string(out), want)
			}
			require.NotContains(t, string(out), "Malformed")
		})
	}
}

func TestTraceFile(t *testing.T) {
	w := newHome(t, 0)
	_, errOut := w.fail("serve", "--trace", filepath.Join(w.home, "nowhere", "x"))
	require.Contains(t, errOut, "--trace: open ")
	_, errOut = w.fail("ping", "nobody@127.0.0.1", "--trace", filepath.Join(w.home, "nowhere", "x"))
	require.Contains(t, errOut, "--trace: open ")

	// Without a cookie there is no node, and nothing to trace: no file is made, and none is
	// emptied.
	require.NoError(t, os.Remove(filepath.Join(w.home, ".erlang.cookie")))
	earlier, none := filepath.Join(w.home, "earlier.pcap"), filepath.Join(w.home, "none.pcap")
	require.NoError(t, os.WriteFile(earlier, []byte("of an earlier run"), 0o600))
	for _, args := range [][]string{{"serve"}, {"ping", "nobody@127.0.0.1"}, {"call", "nobody@127.0.0.1", "m", "f", "[]"}} {
		for _, path := range []string{earlier, none} {
			_, errOut = w.fail(append(args[:len(args):len(args)], "--trace", path)...)
			require.Contains(t, errOut, "cookie", args)
		}
	}
	b, err := os.ReadFile(earlier)
	require.NoError(t, err)
	require.Equal(t, "of an earlier run", string(b))
	require.NoFileExists(t, none)
}

// A serve that does not get as far as running leaves the file to the serve that runs, and makes no
// file.
func TestTraceFileOfAnother(t *testing.T) {
	w := newHome(t, 0)
	path, other := filepath.Join(w.home, "serve.pcap"), filepath.Join(w.home, "other.pcap")
	s := w.serve("serve", "--name", "served@127.0.0.1", "--trace", path)
	require.Equal(t, "pong\n", w.succeed("ping", s.name))
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(b), "is_auth")
	}, 30*time.Second, 5*time.Millisecond, "it is written")
	taken := []string{"serve", "--name", "served@127.0.0.1", "--trace"}
	w.fail(append(taken, path)...)
	w.fail(append(taken, other)...)
	require.NoFileExists(t, other)
	// nor does a serve that could run, under another name, touch the file
	if runtime.GOOS != "windows" {
		for _, args := range [][]string{{"serve", "--name", "other@127.0.0.1"}, {"ping", s.name}} {
			_, errOut := w.fail(append(args, "--trace", path)...)
			require.Contains(t, errOut, "--trace: "+path+" "+config.ErrWritten.Error())
		}
	}
	s.terminate(syscall.SIGTERM)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, []byte{0x4d, 0x3c, 0xb2, 0xa1}, b[:4], "the beginning is there still")
	require.Contains(t, string(b), "is_auth")

	again := w.serve("serve", "--name", "again@127.0.0.1", "--trace", path)
	again.terminate(syscall.SIGTERM)
	b, err = os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(b), "is_auth", "a node that runs begins anew")
	require.NotEmpty(t, b)
}

// A node that cannot be recorded serves all the same; the failure is reported at the beginning and
// at the end.
func TestTraceFileFull(t *testing.T) {
	const full = "/dev/full"
	if runtime.GOOS != "linux" {
		t.Skip("Linux has a file that is always full")
	}
	w := newHome(t, 0)
	s := w.serve("serve", "--name", "served@127.0.0.1", "--trace", full)
	require.Equal(t, "pong\n", w.succeed("ping", s.name))
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	s.await()
	require.Equal(t, exitFailed, s.cmd.ProcessState.ExitCode())
	require.Contains(t, s.errors(), "serve: --trace: write "+full)
	require.Contains(t, s.errors(), "the node serves, and is not recorded")
	require.FileExists(t, full)
}
