package nodes

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// Once a process is seen to have ended its name is free, as after a DOWN in Erlang.
func TestNameIsFreeOnceDone(t *testing.T) {
	n := newWorld(t, "memory").node("a")
	for range 500 {
		b := registered(t, n, "name")
		go b.Exit(ei.Atom("over"))
		<-b.Done()
		next := registered(t, n, "name")
		require.ErrorIs(t, n.Register(t.Context(), "other", b), ErrClosed)
		next.Exit(ei.Atom("over"))
		require.Nil(t, n.Whereis("name"))
	}
}

// Two processes that want each other's names get none, and nothing hangs.
func TestRegisterCrosswise(t *testing.T) {
	n := newWorld(t, "memory").started("front")
	var boxes [2]*Mailbox
	for i, name := range []string{"a", "b"} {
		boxes[i] = box(t, n)
		require.NoError(t, n.Register(t.Context(), name, boxes[i]))
	}
	done := make(chan struct{})
	var both sync.WaitGroup
	for i, name := range []string{"b", "a"} {
		both.Go(func() {
			for range 50_000 {
				if n.Register(t.Context(), name, boxes[i]) == nil {
					t.Errorf("%s has two", name)
					return
				}
			}
		})
	}
	go func() { both.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(tooLong):
		t.Fatal("they wait for each other")
	}
}
