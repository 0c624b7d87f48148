package global

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// A node gives its lock and then does not answer: once Register has failed the process has not got
// the name.
func TestRegisterGivenUp(t *testing.T) {
	w := newWorld(t)
	one, other := w.meeting(t)
	ctx, cancel := context.WithCancel(within(t))
	heard := make(chan string, 100)
	var l *liar
	l = w.liar(t, "l@test", func(from string, m ei.Term) {
		c, _ := m.(ei.Tuple)
		if len(c) != 3 || !isAtom(c[0], "$gen_call") {
			return
		}
		r, _ := c[2].(ei.Tuple)
		of := tagOf(r)
		heard <- string(of)
		if of == "register" { // the other nodes have it, or get it
			eventually(t, func() bool { _, ok := other.Whereis("x"); return ok })
			cancel()
		} else if to, ok := replyTo(from, c[1]); ok {
			_ = l.box.SendAlias(within(t), to.Alias, ei.Tuple{to.Tag, a("true")})
		}
	})
	_, err := l.Connect(within(t), "a@test")
	require.NoError(t, err)
	one.mu.Lock()
	one.server.known["l@test"] = 8
	one.mu.Unlock()
	require.ErrorIs(t, one.Register(ctx, "x", one.process(t), Method{}), context.Canceled)
	for <-heard != "register" { // an attempt may have failed before
	}
	require.Equal(t, "unregister", <-heard)
	require.Equal(t, "del_lock", <-heard)
	for _, m := range []member{one, other} {
		eventually(t, func() bool { _, ok := m.Whereis("x"); return !ok })
	}
}

type named string

type marshalled string

func (marshalled) AppendTerm(b []byte) ([]byte, error) { return ei.AppendTerm(b, ei.Int(1)) }

func TestNameKey(t *testing.T) {
	for _, c := range []struct {
		name any
		term ei.Term
	}{
		{"x", ei.Atom("x")},
		{named("x"), ei.Atom("x")},
		{ei.Atom("x"), ei.Atom("x")},
		{ei.Binary("x"), ei.Binary("x")},
		{marshalled("x"), ei.Int(1)},
		{7, ei.Int(7)},
	} {
		_, term, err := nameKey(c.name)
		require.NoError(t, err)
		require.Equal(t, c.term, term)
	}
	_, _, err := nameKey(nil)
	require.ErrorIs(t, err, ErrNotTerm)
}

func TestErrorText(t *testing.T) {
	require.EqualError(t, wrap("sync", nil, context.Canceled), "sync: context canceled")
	require.EqualError(t, wrap("register", ei.Atom("x"), ErrTaken), "register x: global: the name is taken")
}
