//go:build unix

package workers

import (
	"encoding/base64"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/nametable"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A state that no front can have is refused before anything begins, and its descriptors are closed.
func TestRestoreFrontRefuses(t *testing.T) {
	const one, two = 1, 2 // the lines, behind the listener
	state := func(s *states.Node) []byte {
		s.Name, s.Creation, s.Started = "a@b", 4, true
		return of(form.Write(t.Context().Err, states.KindNode, s)).must(t)
	}
	tcp := states.TransportID{Plugin: "tcp"}
	listens := state(&states.Node{Listeners: []states.Listener{{TransportID: tcp, Descriptor: 0, Serves: true}}})
	worker := func(slot, part, line int) states.Crewman {
		return states.Crewman{Slot: slot, Part: part, PID: os.Getpid(), Line: line, Ready: true}
	}
	pair := []states.Crewman{worker(0, 1, one), worker(1, 2, two)}
	names := of(nametable.New()).must(t)
	defer names.Close()
	require.NoError(t, names.Enter("x"))
	// of this process, where the system has handles
	handle := func(at int) states.Place { return 0 }
	own := of(os.FindProcess(os.Getpid())).must(t)
	if own.WithHandle(func(uintptr) {}) == nil {
		handle = states.At
	}
	routes := []states.Route{{Peer: "c@d", At: 1, Held: []states.Held{{Part: 1, Count: 1}}, Proven: true}}
	tenancies := []states.Tenancy{{Name: "x", Part: 2, Number: 1}}
	for name, s := range map[string]states.Front{
		"nothing is wrong": {
			Arrivals: 7, LastPart: 9,
			Crew: []states.Crewman{pair[0], {
				Slot: 1, Part: 2, PID: os.Getpid(), Line: two, Ready: true, Handle: handle(two + 3),
				Untaken: []states.Session{{Via: talk.ViaLine, Descriptor: states.At(two + 1)}, {Via: talk.ViaLine}},
			}},
			Routes: routes, Names: tenancies, NameTable: states.At(two + 2),
		},
		"nothing is wrong without a name table": {Arrivals: 7, LastPart: 9, Routes: routes, Names: tenancies},
		"no listener":                           {Node: state(&states.Node{}), Crew: []states.Crewman{worker(0, 1, 0), worker(1, 2, 1)}},
		"a route to nobody":                     {Routes: []states.Route{{Peer: "c@d", Held: []states.Held{{Part: 1, Count: 1}}}}},
		"a route to a stranger":                 {Routes: []states.Route{{Peer: "c@d", At: 3, Held: []states.Held{{Part: 1, Count: 1}}}}},
		"a share of nobody's":                   {Routes: []states.Route{{Peer: "c@d", At: 1, Held: []states.Held{{Part: 3, Count: 1}}}}},
		"a share of nothing":                    {Routes: []states.Route{{Peer: "c@d", At: 1, Held: []states.Held{{Part: 1, Count: 0}}}}},
		"a name of nobody's":                    {Names: []states.Tenancy{{Name: "x", Part: 3, Number: 1}}},
		"two workers of a slot":                 {Crew: []states.Crewman{worker(0, 1, one), worker(0, 2, two)}},
		"two workers of a part":                 {Crew: []states.Crewman{worker(0, 1, one), worker(1, 1, two)}},
		"part 0":                                {Crew: []states.Crewman{worker(0, 0, one)}},
		"a part that is too big":                {Crew: []states.Crewman{worker(0, states.MaxPart+1, one)}},
		"a line that is not there": {Crew: []states.Crewman{{Slot: 0, Part: 1, PID: os.Getpid(), Handle: handle(two),
			Line: two + 1}}},
		"process 0":              {Crew: []states.Crewman{{Slot: 0, Part: 1, Line: one}}},
		"a handle of no process": {Crew: []states.Crewman{{Slot: 0, Part: 1, PID: os.Getpid(), Line: one, Handle: states.At(two)}}},
		"no way for a session": {Crew: []states.Crewman{
			{Slot: 0, Part: 1, PID: os.Getpid(), Line: one, Untaken: []states.Session{{Via: talk.ViaLine + 1, Descriptor: states.At(two)}}},
		}},
		"a descriptor too many": {},
	} {
		t.Run(name, func(t *testing.T) {
			if s.Node == nil {
				s.Node, s.Descriptors = listens, 1
			}
			if s.Crew == nil {
				s.Crew = pair
			}
			b := of(form.Write(t.Context().Err, states.KindFront, &s)).must(t)
			l := of(net.Listen("tcp", "127.0.0.1:0")).must(t)
			var fds []int
			if s.Descriptors > 0 {
				file := of(l.(*net.TCPListener).File()).must(t)
				fds = duplicates(t, []int{int(file.Fd())})
				require.NoError(t, file.Close())
			}
			require.NoError(t, l.Close())
			count := len(s.Crew)
			for _, w := range s.Crew {
				for _, u := range w.Untaken {
					if u.Descriptor != 0 {
						count++
					}
				}
			}
			switch name {
			case "a handle of no process", "a descriptor too many":
				count++
			}
			var others []*os.File
			for range count {
				ours, theirs, err := handoff.PacketPair()
				require.NoError(t, err)
				fds, others = append(fds, duplicates(t, []int{int(ours.Fd())})...), append(others, theirs)
				require.NoError(t, ours.Close())
			}
			if s.NameTable != 0 {
				fds = append(fds, duplicates(t, []int{names.Descriptor()})...)
			}
			if at := s.Crew[len(s.Crew)-1].Handle; at.Index() == len(fds) {
				require.NoError(t, own.WithHandle(func(h uintptr) { fds = append(fds, duplicates(t, []int{int(h)})...) }))
			}
			g, err := Restore(Config{Node: nodes.Config{Cookie: "c", Resolver: nodes.Static{}}, Workers: 2}, b, fds)
			if strings.HasPrefix(name, "nothing is wrong") {
				require.NoError(t, err)
				again := (&frontWorld{t: t, f: g.f}).described()
				require.Len(t, again.Crew, 2)
				require.EqualValues(t, 7, g.f.n.Arrivals.Load())
				require.Equal(t, 9, again.LastPart, "a new worker does not get the number, and the pids, of one that has ended")
				require.Equal(t, routes, again.Routes)
				require.Equal(t, tenancies, again.Names)
				require.Equal(t, s.NameTable == 0, again.NameTable == 0)
				require.NoError(t, g.Discard())
				require.False(t, names.Lacks("x"), "workers would not find it any more")
				inTime(t, "Close", func() { require.NoError(t, g.Front().Close(), "it has no workers any more") })
			} else {
				require.ErrorIs(t, err, nodes.ErrState)
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

// A state that no worker can have is refused, too.
func TestRestoreWorkerRefuses(t *testing.T) {
	node := of(form.Write(t.Context().Err, states.KindNode, &states.Node{Name: "a@b", Creation: 4})).must(t)
	for _, tt := range []struct {
		name         string
		part, latest int
		want         error
	}{
		{"nothing is wrong", 1, states.MaxPart, nil},
		{"part 0", 0, 1, nodes.ErrState},
		{"a part that is too big", states.MaxPart + 1, 1, nodes.ErrState},
		{"newest part 0", 1, 0, nodes.ErrState},
		{"a newest part that is too big", 1, states.MaxPart + 1, nodes.ErrState},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := form.Write(t.Context().Err, states.KindWorker, &states.Worker{Node: node, Part: tt.part, Latest: tt.latest})
			require.NoError(t, err)
			ours, theirs, err := handoff.PacketPair()
			require.NoError(t, err)
			defer theirs.Close()
			fds := duplicates(t, []int{int(ours.Fd())})
			require.NoError(t, ours.Close())
			h := &workerHeir{cfg: nodes.Config{Cookie: "c", Resolver: nodes.Static{}}}
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

// A worker that goes on gives back a name that its old process had claimed and not registered, and
// erases the keys in the state.
func TestRestoredWorkerReleasesNames(t *testing.T) {
	node := of(form.Write(t.Context().Err, states.KindNode, &states.Node{Name: "a@b", Creation: 4, Started: true})).must(t)
	keys := []byte("the keys of the session")
	waits := of(talk.Describe(new(descriptor.Table), []talk.Message{&talk.Session{State: keys}})).must(t)
	state := states.Worker{Node: node, Part: 1, Latest: 1, Claimed: []states.Name{{Name: "x"}}, Unsent: waits}
	b := of(form.Write(t.Context().Err, states.KindWorker, &state)).must(t)
	encoded := base64.StdEncoding.EncodeToString(keys)
	require.Contains(t, string(b), encoded)
	ours, theirs, err := handoff.PacketPair()
	require.NoError(t, err)
	fds := duplicates(t, []int{int(ours.Fd())})
	require.NoError(t, ours.Close())
	socket := of(handoff.FileConn(theirs)).must(t)
	front, err := talk.New(socket)
	require.NoError(t, err)
	said := make(chan talk.Message, 64)
	go func() { _ = front.Read(func(m talk.Message) { said <- m }) }()
	h := &workerHeir{cfg: nodes.Config{Cookie: "c", Resolver: nodes.Static{}}}
	of(h.stage(t.Context(), b, fds)).must(t)
	require.NoError(t, h.Start(soon(t)))
	require.NotContains(t, string(b), encoded)
	for m := arrives(t, said, "the name"); ; m = arrives(t, said, "the name") {
		if release, ok := m.(*talk.Release); ok && release.Name == "x" {
			break
		}
	}
	require.NoError(t, h.w.Close())
	front.Close()
	arrives(t, front.Wrote(), "the end of the line")
}
