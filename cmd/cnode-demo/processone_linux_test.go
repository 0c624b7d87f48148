package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
)

// A serve that is process 1 is not handed over: everything in its container would end with the old
// process, the new one too.
func TestProcessOneStays(t *testing.T) {
	need.Root(t, "a namespace of processes is root's to make")
	contained := []string{need.Program(t, "unshare"), "--pid", "--fork", "--kill-child"}
	w := newHome(t, 0)
	s := w.successive(nil, append(contained, program, "serve", "--name", "one@127.0.0.1")...)
	_, errOut := w.fail("upgrade", s.name)
	require.Contains(t, errOut, "serves on: serve is process 1, whose end is the end of its container")
	_, errOut = w.fail("serve", "--takeover", "--name", s.name)
	require.Contains(t, errOut, "serve is process 1")
	require.Equal(t, "pong\n", w.succeed("ping", s.name))
}
