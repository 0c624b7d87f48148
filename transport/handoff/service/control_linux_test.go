package service

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff"
)

// Whoever hears that a hand-off has failed may ask again at once: while it cannot come to its end,
// for want of the lock, nothing is heard.
func TestAskAgain(t *testing.T) {
	ctx := expect.Context(t)
	s := &Service{Control: filepath.Join(sockdir.New(t), "control"), Command: []string{"/nowhere"}}
	p := newPlain(s)
	s.owner, s.maker = p, p
	s.over, s.end = context.WithCancel(ctx)
	var first sync.Once
	s.Reached = func(step string) {
		if step == "owner: the hand-off is over" {
			first.Do(s.mu.Lock)
		}
	}
	s.control = s.newControl(p, nil)
	require.NotNil(t, s.control)
	go s.control.serve()
	defer s.hide()
	heard := make(chan error, 1)
	ask := func() {
		_, err := Ask(ctx, s.Control, "")
		heard <- err
	}
	go ask()
	expect.WaitsIn(t, "sync.Mutex.Lock", "service.(*control).asked")
	for range 10 { // meanwhile others hear
		require.ErrorContains(t, AskWorkers(ctx, s.Control), "not a request")
	}
	early := len(heard)
	s.mu.Unlock()
	require.Zero(t, early)
	require.ErrorContains(t, <-heard, "/nowhere")
	ask()
	err := <-heard
	require.NotErrorIs(t, err, handoff.ErrBusy)
	require.ErrorContains(t, err, "/nowhere")
}
