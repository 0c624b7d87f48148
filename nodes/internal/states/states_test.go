package states

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/nodes/internal/form"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// Any state that is written can be read.
func TestStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := someConn(t)
		b, err := form.Write(t.Context().Err, KindConn, &c)
		require.NoError(t, err)
		var readConn Conn
		require.NoError(t, form.Read(KindConn, b, &readConn))
		require.Equal(t, c, readConn)
		n := someNode(t)
		b, err = form.Write(t.Context().Err, KindNode, &n)
		require.NoError(t, err)
		var readNode Node
		require.NoError(t, form.Read(KindNode, b, &readNode))
		again, err := form.Write(t.Context().Err, KindNode, &readNode)
		require.NoError(t, err)
		require.Equal(t, b, again)
		equal(t, n.Mailboxes, readNode.Mailboxes, func(want, got *Mailbox) {
			equal(t, want.Messages, got.Messages, func(want, got *Message) { require.Equal(t, *want, *got) })
			want.Messages, got.Messages = form.List[Message]{}, form.List[Message]{}
			require.Equal(t, alike(want), alike(got))
		})
		n.Mailboxes, readNode.Mailboxes = form.List[Mailbox]{}, form.List[Mailbox]{}
		require.Equal(t, n, readNode)
	})
}

// equal compares lists.
func equal[T any](t require.TestingT, want, got form.List[T], each func(want, got *T)) {
	var list []*T
	if want.All != nil {
		for x := range want.All {
			list = append(list, x)
		}
	}
	require.Equal(t, len(list), got.Len)
	if got.Len == 0 {
		require.Nil(t, got.All)
		return
	}
	i := 0
	for x, err := range got.All {
		require.NoError(t, err)
		each(list[i], x)
		i++
	}
	require.Equal(t, len(list), i)
}

// alike is a mailbox without the difference between lists that are empty.
func alike(s *Mailbox) Mailbox {
	a := *s
	b := &a.Bonds
	a.Names, a.NodesUp, a.Aliases = append([]Name{}, a.Names...), append([]Up{}, a.NodesUp...), append([]Alias{}, a.Aliases...)
	b.Links, b.Watchers = append([]Link{}, b.Links...), append([]Watcher{}, b.Watchers...)
	b.Watching, b.Downs = append([]Watching{}, b.Watching...), append([]Down{}, b.Downs...)
	return a
}

// Any state of a front, a worker and a way between workers that is written can be read; fields that
// are not known are skipped, or refused.
func TestFrontStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := someFront(t)
		b, err := form.Write(t.Context().Err, KindFront, &f)
		require.NoError(t, err)
		var readFront Front
		require.NoError(t, form.Read(KindFront, addField(b, 99, form.May, "news"), &readFront))
		require.Equal(t, f, readFront)
		require.ErrorIs(t, form.Read(KindFront, addField(b, 99, form.Must, "news"), new(Front)), form.ErrFormat)

		w := someWorker(t)
		b, err = form.Write(t.Context().Err, KindWorker, &w)
		require.NoError(t, err)
		var readWorker Worker
		require.NoError(t, form.Read(KindWorker, addField(b, 99, form.May, "news"), &readWorker))
		require.Equal(t, w, readWorker)
		require.ErrorIs(t, form.Read(KindWorker, addField(b, 99, form.Must, "news"), new(Worker)), form.ErrFormat)

		c := someConn(t)
		c.Worker, c.Shadow, c.Trunk, c.Staked, c.Stake = 7, rapid.Bool().Draw(t, "shadow"), 2, rapid.Bool().Draw(t, "held"), someName(t)
		c.Links = few(t, "links", func() Crossing { return Crossing{somePid(t), somePid(t)} })
		c.Monitors = few(t, "monitors", func() CrossMonitor {
			return CrossMonitor{someRef(t), somePid(t), somePid(t), "name"}
		})
		c.Orphans = few(t, "orphans", func() Orphan { return Orphan{someRef(t), ei.Raw{106}} })
		b, err = form.Write(t.Context().Err, KindConn, &c)
		require.NoError(t, err)
		var readConn Conn
		require.NoError(t, form.Read(KindConn, b, &readConn))
		require.Equal(t, c, readConn)
	})
}

// addField appends a field to a whole state.
func addField(b []byte, tag uint64, n form.Need, value string) []byte {
	b = binary.AppendUvarint(b, tag<<1|uint64(n))
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

// A field that is not known is skipped if it may be, and refused if it must be understood, before
// anything is made from the state.
func TestStateUnknownFields(t *testing.T) {
	s := Node{Name: "a@b", Creation: 4, Mailboxes: list([]Mailbox{{}})}
	b, err := form.Write(t.Context().Err, KindNode, &s)
	require.NoError(t, err)
	var got Node
	require.NoError(t, form.Read(KindNode, addField(b, 99, form.May, "news"), &got))
	require.Equal(t, "a@b", got.Name)
	err = form.Read(KindNode, addField(b, 99, form.Must, "news"), new(Node))
	require.ErrorIs(t, err, form.ErrFormat)
	require.ErrorContains(t, err, "field 99")
	inner, err := form.Write(t.Context().Err, KindNode, &Mailbox{})
	require.NoError(t, err)
	inner = addField(inner[len(form.Magic)+2:], 50, form.Must, "x")
	got = Node{}
	require.NoError(t, form.Read(KindNode, addField(b, 8, form.Must, string(inner)), &got))
	require.Equal(t, 2, got.Mailboxes.Len)
	for _, err = range got.Mailboxes.All {
	}
	require.ErrorIs(t, err, form.ErrFormat)
	require.ErrorContains(t, err, "mailbox 2, field 50")
}

func TestStateMalformed(t *testing.T) {
	s := Node{Name: "a@b", Creation: 4}
	b, err := form.Write(t.Context().Err, KindNode, &s)
	require.NoError(t, err)
	version := append([]byte(nil), b...)
	version[len(form.Magic)+1] = 2
	missing := append([]byte(form.Magic), KindNode, form.Version)
	published, err := form.Write(t.Context().Err, KindNode, &Publication{})
	require.NoError(t, err)
	registration := string(published[len(form.Magic)+2:])
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"nothing", nil, form.ErrMalformed},
		{"no state", []byte("GET / HTTP/1.1\r\n\r\n"), form.ErrMalformed},
		{"another kind", append(append([]byte(form.Magic), KindConn), b[len(form.Magic)+1:]...), form.ErrMalformed},
		{"another format", version, form.ErrFormat},
		{"a mandatory field is missing", missing, form.ErrMalformed},
		{"cut off", b[:len(b)-1], form.ErrMalformed},
		{"a length that lies", append(append([]byte(nil), b...), 99<<1, 0xff, 0xff, 0xff, 0xff, 0x0f), form.ErrMalformed},
		{"two registrations", addField(addField(b, 11, form.Must, registration), 11, form.Must, registration), form.ErrMalformed},
		{"no number", addField(addField(missing, 1, form.Must, "a@b"), 2, form.Must, ""), form.ErrMalformed},
		{"a number out of range", addField(addField(missing, 1, form.Must, "a@b"), 2, form.Must, "\xff\xff\xff\xff\xff\x01"), form.ErrMalformed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.ErrorIs(t, form.Read(KindNode, tt.b, new(Node)), tt.want)
		})
	}
}

// Identifiers are complete, with nothing else in their fields; one that cannot be encoded makes
// Write fail.
func TestStateIdentifiers(t *testing.T) {
	pid, ref := ei.Pid{Node: "a@b", ID: 1, Creation: 4}, ei.Ref{Node: "a@b", Creation: 4, Len: 3, ID: [5]uint32{1, 2, 3}}
	pidBytes, err := ei.AppendPid(nil, pid)
	require.NoError(t, err)
	refBytes, err := ei.AppendRef(nil, ref)
	require.NoError(t, err)
	empty := append([]byte(form.Magic), KindNode, form.Version)
	watcher := func(ref, pid string) error {
		var s Watcher
		return form.Read(KindNode, addField(addField(empty, 1, form.Must, ref), 2, form.Must, pid), &s)
	}
	require.NoError(t, watcher(string(refBytes), string(pidBytes)))
	require.NoError(t, watcher("", ""))
	for _, pid := range []string{string(pidBytes) + "x", string(pidBytes[:5]), string(refBytes)} {
		require.ErrorIs(t, watcher(string(refBytes), pid), form.ErrMalformed)
	}
	for _, ref := range []string{string(refBytes) + "x", string(refBytes[:5]), string(pidBytes)} {
		require.ErrorIs(t, watcher(ref, string(pidBytes)), form.ErrMalformed)
	}
	pid.Node = ei.Atom(strings.Repeat("n", 256))
	_, err = form.Write(t.Context().Err, KindNode, &Watcher{Ref: ref, Pid: pid})
	require.ErrorIs(t, err, ei.ErrAtom)
	require.ErrorContains(t, err, "field 2")
}
