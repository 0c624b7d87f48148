package nodes

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/form"
)

// few is a list of up to three.
func few[T any](t *rapid.T, what string, draw func() T) []T {
	var list []T
	for range rapid.IntRange(0, 3).Draw(t, what) {
		list = append(list, draw())
	}
	return list
}

func someBytes(t *rapid.T, what string) []byte {
	b := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, what)
	if len(b) == 0 {
		return []byte{}
	}
	return b
}

func somePid(t *rapid.T) ei.Pid {
	if rapid.Bool().Draw(t, "no pid") {
		return ei.Pid{}
	}
	return ei.Pid{Node: ei.Atom(someName(t)), ID: rapid.Uint32().Draw(t, "id"), Serial: rapid.Uint32().Draw(t, "serial"),
		Creation: rapid.Uint32().Draw(t, "creation")}
}

func someRef(t *rapid.T) ei.Ref {
	return ei.Ref{Node: ei.Atom(someName(t)), Creation: rapid.Uint32().Draw(t, "creation"), Len: 3,
		ID: [5]uint32{1, rapid.Uint32().Draw(t, "id"), 3}}
}

func someName(t *rapid.T) string {
	return rapid.StringMatching(`[a-zé]{1,9}@[a-z.]{1,9}`).Draw(t, "name")
}

func someMessage(t *rapid.T) messageState {
	atom := func(what string) ei.Atom { return ei.Atom(rapid.StringN(0, 9, -1).Draw(t, what)) }
	return messageState{
		ctl: dist.Control{
			Op: dist.Op(rapid.Byte().Draw(t, "op")), From: somePid(t), To: somePid(t), FromName: atom("from"), ToName: atom("to"),
			Ref: someRef(t), ID: rapid.Uint64().Draw(t, "id"), Flags: rapid.Uint64().Draw(t, "flags"), Reason: ei.Raw("reason"),
			Token: ei.Raw("token"), GroupLeader: somePid(t), Module: atom("module"), Function: atom("function"),
			Arity: rapid.Byte().Draw(t, "arity"), Options: ei.Raw("options"), Result: ei.Raw("result"),
		},
		payload: ei.Raw(rapid.StringN(1, 200, -1).Draw(t, "payload")), peer: someName(t),
	}
}

func someBonds(t *rapid.T) bonds {
	return bonds{
		pid: somePid(t),
		links: few(t, "links", func() linkState {
			return linkState{somePid(t), rapid.Bool().Draw(t, "active"), rapid.Uint64().Draw(t, "unlink")}
		}),
		watchers: few(t, "watchers", func() watcherState { return watcherState{someRef(t), somePid(t), "name"} }),
		watching: few(t, "watching", func() watchingState {
			return watchingState{someRef(t), someName(t), somePid(t), "", rapid.IntRange(0, maxPart).Draw(t, "part")}
		}),
		downs: few(t, "downs", func() downState { return downState{someName(t), rapid.IntRange(0, 9).Draw(t, "count")} }),
	}
}

func someConn(t *rapid.T) connState {
	s := connState{
		carriage: carriage{"tcp", rapid.IntRange(0, 3).Draw(t, "place")}, export: someBytes(t, "export"), descriptor: rapid.IntRange(0, 1<<20).Draw(t, "descriptor"),
		self: someName(t), selfCreation: rapid.Uint32().Draw(t, "creation"),
		peer: dist.Peer{
			Name: someName(t), Creation: rapid.Uint32().Draw(t, "creation"), Flags: dist.Flags(rapid.Uint64().Draw(t, "flags")),
			Announced: dist.Flags(rapid.Uint64().Draw(t, "flags")), Version: 6, Status: dist.StatusOK,
		},
		initiated: rapid.Bool().Draw(t, "initiated"), pid: somePid(t), ahead: someBytes(t, "ahead"), rest: someBytes(t, "rest"),
		unread: few(t, "unread", func() messageState { return someMessage(t) }),
		clock:  &clockState{time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "age")), true, false, 2, true},
		bonds:  few(t, "bonds", func() bonds { return someBonds(t) }), received: 1, messages: 2, sent: 3, made: 4,
	}
	if rapid.Bool().Draw(t, "alone") {
		s.giver = &giverState{rapid.Uint64().Draw(t, "instance"), rapid.Uint16().Draw(t, "worker")}
	}
	s.peer.SelfName, s.peer.SelfCreation = s.self, s.selfCreation
	return s
}

func someNode(t *rapid.T) nodeState {
	publication := &publicationState{someBytes(t, "state"), 2, 7}
	if rapid.Bool().Draw(t, "unpublished") {
		publication = nil
	}
	return nodeState{
		name: someName(t), creation: rapid.Uint32().Draw(t, "creation"), pids: rapid.Uint64().Draw(t, "pids"), refs: rapid.Uint64().Draw(t,
			"refs"),
		started: rapid.Bool().Draw(t, "started"), published: rapid.Bool().Draw(t, "published"),
		conns: few(t, "conns", func() connState { return someConn(t) }),
		mailboxes: few(t, "mailboxes", func() mailboxState {
			own := someBonds(t)
			return mailboxState{
				bonds: &own, names: few(t, "names", func() nameState { return nameState{"x"} }),
				limit: 100, full: FullExit, trapExit: true, messages: few(t, "messages", func() messageState { return someMessage(t) }),
				nodeTypes: AllNodes, nodesUp: few(t, "nodes", func() upState { return upState{someName(t), rapid.Bool().Draw(t, "visible")} }),
			}
		}),
		orphans: few(t, "orphans", func() bonds { return someBonds(t) }),
		listeners: few(t, "listeners", func() listenerState {
			return listenerState{carriage{"unix", rapid.IntRange(0, 3).Draw(t, "place")}, 5, true, rapid.Bool().Draw(t, "keeps")}
		}),
		publication: publication,
		blob:        append(someBytes(t, "blob"), 'x'), stats: [4]int64{1, 2, 3, 4},
	}
}

// What is written is read, whatever it is.
func TestStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := someConn(t)
		b, err := writeState(kindConn, &c)
		require.NoError(t, err)
		var readConn connState
		require.NoError(t, readState(kindConn, b, &readConn))
		require.Equal(t, c, readConn)
		n := someNode(t)
		b, err = writeState(kindNode, &n)
		require.NoError(t, err)
		var readNode nodeState
		require.NoError(t, readState(kindNode, b, &readNode))
		require.Equal(t, n, readNode)
	})
}

// addField appends a field to a whole state.
func addField(b []byte, tag uint64, n form.Need, value string) []byte {
	b = binary.AppendUvarint(b, tag<<1|uint64(n))
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// A field that is not known is skipped where it may be, and refused where it must be understood, before anything is made of the state.
func TestStateUnknownFields(t *testing.T) {
	s := nodeState{name: "a@b", creation: 4, mailboxes: []mailboxState{{bonds: new(bonds)}}}
	b, err := writeState(kindNode, &s)
	require.NoError(t, err)
	var got nodeState
	require.NoError(t, readState(kindNode, addField(b, 99, form.May, "news"), &got))
	require.Equal(t, "a@b", got.name)
	err = readState(kindNode, addField(b, 99, form.Must, "news"), new(nodeState))
	require.ErrorIs(t, err, ErrStateField)
	require.ErrorContains(t, err, "field 99")
	inner, err := writeState(kindNode, &mailboxState{bonds: new(bonds)})
	require.NoError(t, err)
	inner = addField(inner[len(form.Magic)+2:], 50, form.Must, "x")
	err = readState(kindNode, addField(b, 8, form.Must, string(inner)), new(nodeState))
	require.ErrorIs(t, err, ErrStateField)
	require.ErrorContains(t, err, "mailbox 2, field 50")
	w := newWorld(t, "tcp")
	_, err = Restore(Config{Cookie: "secret", Transport: w.tr}, addField(b, 99, form.Must, ""), nil)
	require.ErrorIs(t, err, ErrStateField)
}

func TestStateMalformed(t *testing.T) {
	s := nodeState{name: "a@b", creation: 4}
	b, err := writeState(kindNode, &s)
	require.NoError(t, err)
	version := append([]byte(nil), b...)
	version[len(form.Magic)+1] = 2
	missing := append([]byte(form.Magic), kindNode, form.Version)
	published, err := writeState(kindNode, &publicationState{})
	require.NoError(t, err)
	registration := string(published[len(form.Magic)+2:])
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, ErrState},
		{"no state", []byte("GET / HTTP/1.1\r\n\r\n"), ErrState},
		{"another kind", append(append([]byte(form.Magic), kindConn), b[len(form.Magic)+1:]...), ErrState},
		{"another format", version, ErrStateFormat},
		{"a mandatory field is missing", missing, ErrState},
		{"cut off", b[:len(b)-1], ErrState},
		{"a length that lies", append(append([]byte(nil), b...), 99<<1, 0xff, 0xff, 0xff, 0xff, 0x0f), ErrState},
		{"two registrations", addField(addField(b, 11, form.Must, registration), 11, form.Must, registration), ErrState},
		{"no number", addField(addField(missing, 1, form.Must, "a@b"), 2, form.Must, ""), ErrState},
		{"a number out of range", addField(addField(missing, 1, form.Must, "a@b"), 2, form.Must, "\xff\xff\xff\xff\xff\x01"), ErrState},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.ErrorIs(t, readState(kindNode, tt.b, new(nodeState)), tt.want)
			_, err := Restore(Config{Cookie: "secret"}, tt.b, nil)
			require.ErrorIs(t, err, tt.want)
		})
	}
}

// Identifiers are whole, and nothing else is in their fields; what cannot be written is no state.
func TestStateIdentifiers(t *testing.T) {
	pid, ref := ei.Pid{Node: "a@b", ID: 1, Creation: 4}, ei.Ref{Node: "a@b", Creation: 4, Len: 3, ID: [5]uint32{1, 2, 3}}
	pidBytes, err := ei.AppendPid(nil, pid)
	require.NoError(t, err)
	refBytes, err := ei.AppendRef(nil, ref)
	require.NoError(t, err)
	empty := append([]byte(form.Magic), kindNode, form.Version)
	watcher := func(ref, pid string) error {
		var s watcherState
		return readState(kindNode, addField(addField(empty, 1, form.Must, ref), 2, form.Must, pid), &s)
	}
	require.NoError(t, watcher(string(refBytes), string(pidBytes)))
	require.NoError(t, watcher("", ""))
	for _, pid := range []string{string(pidBytes) + "x", string(pidBytes[:5]), string(refBytes)} {
		require.ErrorIs(t, watcher(string(refBytes), pid), ErrState)
	}
	for _, ref := range []string{string(refBytes) + "x", string(refBytes[:5]), string(pidBytes)} {
		require.ErrorIs(t, watcher(ref, string(pidBytes)), ErrState)
	}
	pid.Node = ei.Atom(strings.Repeat("n", 256))
	_, err = writeState(kindNode, &watcherState{ref: ref, pid: pid})
	require.ErrorIs(t, err, ei.ErrAtom)
	require.ErrorContains(t, err, "field 2")
}

// seeds are states worth changing.
func stateSeeds(t testing.TB) [][]byte {
	var seeds [][]byte
	for i := range 3 {
		c := rapid.Custom(someConn).Example(i)
		b, err := writeState(kindConn, &c)
		require.NoError(t, err)
		n := rapid.Custom(someNode).Example(i)
		b2, err := writeState(kindNode, &n)
		require.NoError(t, err)
		seeds = append(seeds, b, b2)
	}
	return seeds
}

// FuzzState reads anything as a state: no panic, nothing made of what is refused, and what is accepted means the same when it is written
// again.
func FuzzState(f *testing.F) {
	f.Add([]byte(form.Magic + "c\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c connState
		if readState(kindConn, b, &c) == nil {
			out, err := writeState(kindConn, &c)
			require.NoError(t, err)
			require.NoError(t, readState(kindConn, out, new(connState)))
		}
		var n nodeState
		if readState(kindNode, b, &n) == nil {
			out, err := writeState(kindNode, &n)
			require.NoError(t, err)
			require.NoError(t, readState(kindNode, out, new(nodeState)))
			s, err := Restore(Config{Cookie: "secret", Resolver: Static{}}, b, nil)
			if err == nil {
				require.NoError(t, s.Discard())
			}
		}
	})
}

// The committed seeds are written anew with CNODE_SEEDS set.
func TestStateSeeds(t *testing.T) {
	dir := filepath.Join("testdata", "fuzz", "FuzzState")
	if os.Getenv("CNODE_SEEDS") != "" {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		for i, b := range stateSeeds(t) {
			text := "go test fuzz v1\n[]byte(" + strconv.Quote(string(b)) + ")\n"
			require.NoError(t, os.WriteFile(filepath.Join(dir, "state"+strconv.Itoa(i)), []byte(text), 0o644))
		}
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, entries)
}
