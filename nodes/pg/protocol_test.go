package pg

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

var (
	scopePid = ei.Pid{Node: "a@h", ID: 1, Creation: 1}
	memberA  = ei.Pid{Node: "a@h", ID: 2, Creation: 1}
	memberB  = ei.Pid{Node: "a@h", ID: 3, Creation: 1}
	foreign  = ei.Pid{Node: "b@h", ID: 3, Creation: 1}
)

// wide is a limit of a parser that nothing exceeds here.
const wide = 64 << 20

func TestParse(t *testing.T) {
	g, h := ei.Atom("g"), ei.Atom("h")
	gk, hk := keyFor(t, g), keyFor(t, h)
	a, b := []ei.Pid{memberA}, []ei.Pid{memberB}
	p := newParser(wide)
	for _, tt := range []struct {
		name string
		term ei.Term
		want message
	}{
		{"discover", ei.Tuple{ei.Atom("discover"), scopePid}, message{kind: discover, from: scopePid}},
		{"discover 1", ei.Tuple{ei.Atom("discover"), scopePid, ei.Int(1)}, message{kind: discover, from: scopePid, version: 1}},
		{"discover 7", ei.Tuple{ei.Atom("discover"), scopePid, ei.Int(7)}, message{kind: discover, from: scopePid, version: 1}},
		{"discover -1", ei.Tuple{ei.Atom("discover"), scopePid, ei.Int(-1)}, message{kind: discover, from: scopePid}},
		{"discover x", ei.Tuple{ei.Atom("discover"), scopePid, ei.Atom("x")}, message{kind: discover, from: scopePid}},
		{"sync", cast(ei.Tuple{ei.Atom("sync"), scopePid, ei.List{ei.Tuple{g, ei.List{memberA}}, ei.Tuple{h, ei.List{}}}}),
			message{kind: whole, from: scopePid, changes: []change{{key: gk, joined: a}}}},
		{"sync of nothing", cast(ei.Tuple{ei.Atom("sync"), scopePid, ei.List{}}), message{kind: whole, from: scopePid}},
		{"local_data", cast(ei.Tuple{ei.Atom("local_data"), scopePid, ei.Int(1), ei.Map{{Key: g, Value: ei.List{memberA, memberB}}}}),
			message{kind: whole, from: scopePid, version: 1, changes: []change{{key: gk, joined: []ei.Pid{memberA, memberB}}}}},
		{"join", ei.Tuple{ei.Atom("join"), scopePid, g, memberA}, message{kind: update, from: scopePid, changes: []change{{key: gk, joined: a}}}},
		{"join of a list", ei.Tuple{ei.Atom("join"), scopePid, g, ei.List{memberA}},
			message{kind: update, from: scopePid, changes: []change{{key: gk, joined: a}}}},
		{"leave", ei.Tuple{ei.Atom("leave"), scopePid, memberA, ei.List{g, h, g}},
			message{kind: update, from: scopePid, changes: []change{{key: gk, left: a, times: 2}, {key: hk, left: a, times: 1}}}},
		{"update", ei.Tuple{ei.Atom("update"), scopePid, ei.List{ei.Tuple{g, ei.List{memberA}, ei.List{memberB}}}},
			message{kind: update, from: scopePid, changes: []change{{key: gk, joined: a, left: b}}}},
		{"nodeup", ei.Tuple{ei.Atom("nodeup"), ei.Atom("x@h"), ei.List{}}, message{kind: nodeUp, nodes: []string{"x@h"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := ei.AppendTerm(nil, tt.term)
			require.NoError(t, err)
			m, err := p.parse(raw)
			require.NoError(t, err)
			require.Equal(t, tt.want, m)
			for n := range raw { // none of its beginnings is one
				_, err := p.parse(raw[:n])
				require.Error(t, err, "%d of %d bytes", n, len(raw))
			}
		})
	}
	for _, tt := range []struct {
		name string
		term ei.Term
		want error
	}{
		{"an atom", g, errUnknown},
		{"nothing", ei.Tuple{}, errUnknown},
		{"another word", ei.Tuple{ei.Atom("who"), scopePid}, errUnknown},
		{"another arity", ei.Tuple{ei.Atom("join"), scopePid, g}, errUnknown},
		{"a cast of anything", cast(ei.Tuple{ei.Atom("shutdown"), g}), errUnknown},
		{"a cast of nothing", cast(g), errUnknown},
		{"no pid", ei.Tuple{ei.Atom("discover"), g}, errShape},
		{"an improper list", ei.Tuple{ei.Atom("join"), scopePid, g, ei.ImproperList{Elems: []ei.Term{memberA}, Tail: memberB}}, errShape},
		{"a list of bytes", ei.Tuple{ei.Atom("join"), scopePid, g, ei.String("abc")}, errShape},
		{"no list", ei.Tuple{ei.Atom("leave"), scopePid, memberA, g}, errShape},
		{"no map", cast(ei.Tuple{ei.Atom("local_data"), scopePid, ei.Int(1), ei.List{}}), errShape},
		{"a triple", cast(ei.Tuple{ei.Atom("sync"), scopePid, ei.List{ei.Tuple{g, g, g}}}), errShape},
		{"a foreign member", ei.Tuple{ei.Atom("join"), scopePid, g, foreign}, errForeign},
		{"foreign members", cast(ei.Tuple{ei.Atom("sync"), scopePid, ei.List{ei.Tuple{g, ei.List{memberA, foreign}}}}), errForeign},
		{"a foreign member in a map", cast(ei.Tuple{ei.Atom("local_data"), scopePid, ei.Int(1), ei.Map{{Key: g, Value: ei.List{foreign}}}}),
			errForeign},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := ei.AppendTerm(nil, tt.term)
			require.NoError(t, err)
			_, err = p.parse(raw)
			require.ErrorIs(t, err, tt.want)
		})
	}
}

// What is sent is read as what it was, in both versions of the protocol.
func TestSentIsRead(t *testing.T) {
	gk, hk := keyFor(t, ei.Atom("g")), keyFor(t, ei.Atom("h"))
	both := []ei.Pid{memberA, memberB}
	p := newParser(wide)
	for version := range highest + 1 {
		for _, tt := range []struct {
			term ei.Term
			want message
		}{
			{discoverMessage(scopePid, version), message{kind: discover, from: scopePid, version: version}},
			{joinMessage(scopePid, version, gk, both), message{kind: update, from: scopePid, changes: []change{{key: gk, joined: both}}}},
			{wholeMessage(scopePid, version, map[string]*members{gk: {pids: both}}),
				message{kind: whole, from: scopePid, version: version, changes: []change{{key: gk, joined: both}}}},
			{leaveMessage(scopePid, version, both, []string{gk, hk}),
				message{kind: update, from: scopePid,
					changes: []change{{key: gk, left: both, times: 1 - version}, {key: hk, left: both, times: 1 - version}}}},
		} {
			raw, err := ei.AppendTerm(nil, tt.term)
			require.NoError(t, err)
			m, err := p.parse(raw)
			require.NoError(t, err)
			require.Equal(t, tt.want, m)
		}
	}
}

// Whatever comes, the parser takes memory in proportion only, and what it reads has members of the
// scope process's node only, and keys that are keys.
func FuzzParse(f *testing.F) {
	g := ei.Tuple{ei.Atom("g"), ei.String("ab"), ei.MapOf("b", 1, "a", 2)}
	for _, t := range []ei.Term{
		ei.Tuple{ei.Atom("discover"), scopePid, ei.Int(1)},
		cast(ei.Tuple{ei.Atom("sync"), scopePid, ei.List{ei.Tuple{g, ei.List{memberA, memberB}}}}),
		cast(ei.Tuple{ei.Atom("local_data"), scopePid, ei.Int(1), ei.Map{{Key: g, Value: ei.List{memberA}}}}),
		ei.Tuple{ei.Atom("join"), scopePid, g, ei.List{memberA, foreign}},
		ei.Tuple{ei.Atom("leave"), scopePid, memberA, ei.List{g, g}},
		ei.Tuple{ei.Atom("update"), scopePid, ei.List{ei.Tuple{g, ei.List{memberA}, ei.List{memberB}}}},
		ei.Tuple{ei.Atom("$cnode_pg"), ei.Atom("nodes"), scopePid, ei.List{ei.Atom("x@h")}},
	} {
		raw, err := ei.AppendTerm(nil, t)
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := newParser(wide).parse(raw)
		if err != nil {
			if !errors.Is(err, errUnknown) && !errors.Is(err, errShape) {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, c := range m.changes {
			for _, pid := range slices.Concat(c.joined, c.left) {
				if pid.Node != m.from.Node {
					t.Fatalf("%v, of %v", pid, m.from)
				}
			}
			if again, err := keyOf(ei.Raw(c.key)); err != nil || again != c.key {
				t.Fatalf("key %q: %q, %v", c.key, again, err)
			}
		}
	})
}
