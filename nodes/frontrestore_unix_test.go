//go:build unix

package nodes

import (
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport/handoff"
)

// What no front can be is refused, before anything begins, and its descriptors are closed.
func TestRestoreFrontRefuses(t *testing.T) {
	const one, two = 1, 2 // the lines, behind the listener
	state := func(s *nodeState) []byte {
		s.name, s.creation, s.started = "a@b", 4, true
		b, err := writeState(kindNode, s)
		require.NoError(t, err)
		return b
	}
	listens := state(&nodeState{listeners: []listenerState{{carriage: carriage{plugin: "tcp"}, descriptor: 0, serves: true}}})
	worker := func(slot, part, line int) crewState {
		return crewState{slot: slot, part: part, pid: os.Getpid(), line: line, ready: true}
	}
	pair := []crewState{worker(0, 1, one), worker(1, 2, two)}
	for name, s := range map[string]frontState{
		"nothing is wrong": {
			routes: []routeState{{peer: "c@d", at: 1, held: []heldState{{1, 1}}, proven: true}}, names: []tenancyState{{"x", 2, 1}},
		},
		"no listener":            {node: state(&nodeState{}), crew: []crewState{worker(0, 1, 0), worker(1, 2, 1)}},
		"a route to nobody":      {routes: []routeState{{peer: "c@d", held: []heldState{{1, 1}}}}},
		"a route to a stranger":  {routes: []routeState{{peer: "c@d", at: 3, held: []heldState{{1, 1}}}}},
		"a share of nobody's":    {routes: []routeState{{peer: "c@d", at: 1, held: []heldState{{3, 1}}}}},
		"a share of nothing":     {routes: []routeState{{peer: "c@d", at: 1, held: []heldState{{1, 0}}}}},
		"a name of nobody's":     {names: []tenancyState{{"x", 3, 1}}},
		"two workers of a slot":  {crew: []crewState{worker(0, 1, one), worker(0, 2, two)}},
		"two workers of a part":  {crew: []crewState{worker(0, 1, one), worker(1, 1, two)}},
		"part 0":                 {crew: []crewState{worker(0, 0, one)}},
		"a part that is too big": {crew: []crewState{worker(0, maxPart+1, one)}},
		"process 0":              {crew: []crewState{{slot: 0, part: 1, line: one}}},
		"no way for a session": {crew: []crewState{
			{slot: 0, part: 1, pid: os.Getpid(), line: one, untaken: []sessionState{{way: talk.ViaLine + 1, descriptor: placeOf(two)}}},
		}},
		"a descriptor too many": {},
	} {
		t.Run(name, func(t *testing.T) {
			if s.node == nil {
				s.node, s.descriptors = listens, 1
			}
			if s.crew == nil {
				s.crew = pair
			}
			b, err := writeState(kindFront, &s)
			require.NoError(t, err)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			var fds []int
			if s.descriptors > 0 {
				file, err := l.(*net.TCPListener).File()
				require.NoError(t, err)
				fds = duplicates(t, []int{int(file.Fd())})
				require.NoError(t, file.Close())
			}
			require.NoError(t, l.Close())
			count := len(s.crew)
			for _, w := range s.crew {
				count += len(w.untaken)
			}
			if name == "a descriptor too many" {
				count++
			}
			var others []*os.File
			for range count {
				ours, theirs, err := handoff.SocketPair()
				require.NoError(t, err)
				fds, others = append(fds, duplicates(t, []int{int(ours.Fd())})...), append(others, theirs)
				require.NoError(t, ours.Close())
			}
			g, err := RestoreFront(FrontConfig{Node: Config{Cookie: "c", Resolver: Static{}}, Workers: 2}, b, fds)
			if name == "nothing is wrong" {
				require.NoError(t, err)
				require.NoError(t, g.Discard())
			} else {
				require.ErrorIs(t, err, ErrState)
			}
			for _, other := range others {
				fd := int(other.Fd())
				require.NoError(t, unix.SetNonblock(fd, true))
				n, err := unix.Read(fd, make([]byte, 1))
				require.NoError(t, err, "a descriptor stays open")
				require.LessOrEqual(t, n, 0)
				require.NoError(t, other.Close())
			}
			_, err = net.Dial("tcp", l.Addr().String())
			require.ErrorIs(t, err, unix.ECONNREFUSED)
		})
	}
}

// Nor does a process go on as a worker that there cannot be.
func TestRestoreWorkerRefuses(t *testing.T) {
	node, err := writeState(kindNode, &nodeState{name: "a@b", creation: 4})
	require.NoError(t, err)
	for _, tt := range []struct {
		name         string
		part, latest int
		want         error
	}{
		{"nothing is wrong", 1, maxPart, nil},
		{"part 0", 0, 1, ErrState},
		{"a part that is too big", maxPart + 1, 1, ErrState},
		{"newest part 0", 1, 0, ErrState},
		{"a newest part that is too big", 1, maxPart + 1, ErrState},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := writeState(kindWorker, &workerState{node: node, part: tt.part, latest: tt.latest})
			require.NoError(t, err)
			ours, theirs, err := handoff.SocketPair()
			require.NoError(t, err)
			defer theirs.Close()
			fds := duplicates(t, []int{int(ours.Fd())})
			require.NoError(t, ours.Close())
			h := &workerHeir{cfg: Config{Cookie: "c", Resolver: Static{}}}
			_, err = h.stage(t.Context(), b, fds)
			require.ErrorIs(t, err, tt.want)
			if err == nil {
				require.NoError(t, h.Discard())
			}
			require.NoError(t, unix.SetNonblock(int(theirs.Fd()), true))
			n, err := unix.Read(int(theirs.Fd()), make([]byte, 1))
			require.NoError(t, err, "the line stays open")
			require.Zero(t, n)
		})
	}
}
