//go:build unix

package nodes

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport/handoff"
)

// A worker that dies just as the front is frozen is off the crew before anybody describes it: what it had is being closed, and the numbers
// are soon others'.
func TestFreezeBesideDeath(t *testing.T) {
	for _, finds := range []string{"reader", "writer"} {
		t.Run(finds, func(t *testing.T) {
			f, err := newFront(FrontConfig{Workers: 1})
			require.NoError(t, err)
			ours, theirs, err := handoff.SocketPair()
			require.NoError(t, err)
			socket, err := handoff.FileConn(ours)
			require.NoError(t, err)
			w := f.crewman(0)
			w.line, err = newLine(socket)
			require.NoError(t, err)
			w.number, w.proc = 1, &workerProcess{}
			f.crew[w.number] = w
			require.NoError(t, theirs.Close())
			if finds == "reader" {
				require.Error(t, w.line.read(func(word) {})) // and what attend does next has not come yet
			} else {
				require.True(t, w.line.say(word{Topic: sayProbe}))
				arrives(t, w.line.wrote, "the end of the writer")
			}
			short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, f.pauseLines(short), context.DeadlineExceeded, "the worker is there still")

			w.line.close()
			arrives(t, w.line.wrote, "the end of the writer")
			hushed := async(func() (int, error) { return 0, f.pauseLines(soon(t)) })
			_, goesOn := f.discharge(w)
			require.False(t, goesOn)
			require.NoError(t, arrives(t, hushed, "the freeze").err)
			require.Empty(t, f.crew)
		})
	}
}
