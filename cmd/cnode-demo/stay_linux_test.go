package main

import (
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever has started stay sees one process, while the node goes on in one after the other, and
// its end in order.
func TestStay(t *testing.T) {
	for _, more := range [][]string{nil, {"--workers", "2"}} {
		w := newHome(t, 0)
		s := w.successive(nil, append([]string{program, "stay", "--", program, "serve", "--name", "stays@127.0.0.1"}, more...)...)
		n, c := dialed(t, w, s.name)
		old := int(w.pidOf(s.name))
		for range 2 {
			r := w.run("upgrade", s.name)
			require.Equal(t, exitOK, r.code, r.err)
			said := words(r.out)
			require.Len(t, said, 4)
			if more == nil {
				require.Equal(t, strconv.Itoa(old), said[2])
			}
			pid, err := strconv.Atoi(said[3])
			require.NoError(t, err)
			endsWithTest(t, pid)
			require.Equal(t, s.name, s.ready())
			old = pid
		}
		require.NotZero(t, servedBy(t, c), "over the connection of the beginning")
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
		s.exits()
		<-s.over
		require.NoError(t, n.Close())
	}
}

// pidOf asks a node for the process that serves it.
func (w *home) pidOf(name string) int64 {
	w.t.Helper()
	pid, err := strconv.ParseInt(words(w.succeed("call", name, "cnode", "pid"))[0], 10, 64)
	require.NoError(w.t, err)
	return pid
}
