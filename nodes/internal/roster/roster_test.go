package roster

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/states"
)

// conn is a connection of these tests.
type conn struct {
	name string
	kind int
	err  error
}

func (c *conn) Name() string { return c.name }
func (c *conn) Type() int    { return c.kind }
func (c *conn) Err() error   { return c.err }

// A nodedown comes as often as it was asked for and not taken back.
func TestOwed(t *testing.T) {
	var s Bonds[*conn]
	bob, carol := &conn{name: "bob", kind: 1}, &conn{name: "carol", kind: 1}
	s.Owe(bob, 2)
	s.Owe(carol, 1)
	require.Equal(t, []states.Down{{Node: "bob", Count: 2}}, s.Owed("bob"))
	require.Len(t, s.Owed(""), 2)
	c, ok := s.Awaited("bob")
	require.True(t, ok)
	require.True(t, s.Waive(c))
	require.Equal(t, 1, s.Settle(bob))
	require.False(t, s.Waive(bob))
	_, ok = s.Awaited("bob")
	require.False(t, ok)
	s.Depart(carol)
	require.Empty(t, s.Owed(""))
}

// Who never heard that a node was away does not hear either that it is back, unless it has come
// back as one of another type.
func TestAway(t *testing.T) {
	for _, back := range []*conn{{name: "bob", kind: 1}, {name: "bob", kind: 2}} {
		var s Bonds[*conn]
		s.Watch(3)
		there := &conn{name: "bob", kind: 1}
		require.True(t, s.Hears(there))
		require.False(t, s.NoteUp(there))
		require.False(t, s.Hears(there), "it was reported")
		s.Depart(there)
		require.Equal(t, back.kind == there.kind, s.NoteUp(back))
		require.True(t, s.NoteDown(back))
		require.False(t, s.NoteDown(back))
		require.False(t, s.NoteUp(there), "that was told")
	}
}

// A loop that is behind hears in the end what is up, and ups and downs of a connection in turn.
func TestWatchBehind(t *testing.T) {
	var all Watches[*conn]
	w := all.Begin(1)
	defer all.End(w)
	up := []*conn{{name: "stays", kind: 1}, {name: "goes", kind: 1}, {name: "hidden", kind: 2}}
	connections := func() []*conn { return up }
	ctx, cancel := context.WithCancel(t.Context())
	heard := map[*conn]bool{}
	next := func() {
		e, ok := w.Next(ctx, t.Context(), connections)
		require.True(t, ok)
		require.NotEqual(t, heard[e.Conn], e.Up)
		heard[e.Conn] = e.Up
	}
	next()
	next()
	for range MostEvents {
		c := &conn{name: "flaps", kind: 1}
		all.HearUp(c)
		c.err = errors.New("ended")
		all.HearDown(c)
	}
	loops, waiting := all.Waiting()
	require.Equal(t, []int{1, MostEvents}, []int{loops, waiting})
	stays, goes, late := up[0], up[1], &conn{name: "late", kind: 1}
	goes.err = errors.New("ended")
	up = []*conn{stays, late}
	all.HearDown(goes)
	all.HearUp(late)
	for !heard[late] {
		next()
	}
	require.Equal(t, []bool{true, false}, []bool{heard[stays], heard[goes]})
	cancel()
	_, ok := w.Next(ctx, t.Context(), connections)
	require.False(t, ok)
}
