package nodes

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Two processes that want each other's names get none, and nothing hangs.
func TestRegisterCrosswise(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("front")
	var boxes [2]*Mailbox
	for i, name := range []string{"a", "b"} {
		var err error
		boxes[i], err = n.NewMailbox(nil)
		require.NoError(t, err)
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

// A peer that does not answer a node's farewell does not keep the farewell from other peers.
func TestShutdownBesideSilentPeer(t *testing.T) {
	w := newWorld(t, "tcp")
	_, l := w.listening("silent")
	go func() { _, _ = l.Accept(w.ctx()) }() // and nothing is read
	n := w.started("front")
	_, err := n.Connect(w.ctx(), "silent@test")
	require.NoError(t, err)
	var ends []<-chan struct{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		peer := w.started(name)
		c, err := peer.Connect(w.ctx(), "front@test")
		require.NoError(t, err)
		ends = append(ends, c.Done())
	}
	over := make(chan error, 1)
	go func() { over <- n.Shutdown(w.ctx()) }()
	for _, end := range ends {
		select {
		case <-end:
		case <-over:
			t.Fatal("the silent one has taken the time of the others")
		}
	}
	require.NoError(t, <-over)
}
