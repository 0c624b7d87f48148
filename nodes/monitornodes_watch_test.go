package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// watching runs a loop over WatchNodes; over is closed when it has ended.
func watching(t *testing.T, n *Node) (events <-chan NodeEvent, over <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c, end := make(chan NodeEvent), make(chan struct{})
	go func() {
		defer close(end)
		for e := range n.WatchNodes(ctx) {
			select {
			case c <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return c, end
}

func TestWatchNodes(t *testing.T) {
	inWorlds(t, kinds, func(t *testing.T, w *world) {
		visible := func(cfg *Config) { cfg.Visible = true }
		a := w.started("alice", visible)
		_, carol := w.started("bob", visible), w.started("carol")
		connect(t, a, "bob@test")

		events, over := watching(t, a)
		require.Equal(t, NodeEvent{Node: "bob@test", Up: true, Type: VisibleNodes}, arrives(t, events, "what is up"))
		for i := range 20 {
			connect(t, carol, "alice@test")
			e := arrives(t, events, "an event")
			require.Equal(t, NodeEvent{Node: "carol@test", Up: true, Type: HiddenNodes}, e)
			require.Equal(t, "node carol@test up (hidden)", e.String())
			c, why := a.Conn("carol@test"), DownClosedHere
			if i%2 == 0 {
				c, why = carol.Conn("alice@test"), DownClosedThere
			}
			require.NoError(t, c.Close())
			e = arrives(t, events, "an event")
			require.Equal(t, why, e.Why, "%v", e.Err)
			require.Equal(t, NodeEvent{Node: "carol@test", Type: HiddenNodes, Why: why, Err: e.Err}, e)
			require.Equal(t, "node carol@test down (hidden): "+why.String(), e.String())
			for _, c := range append(carol.connections(), c) { // else the next Connect finds it
				ended(t, c)
				arrives(t, c.l.Left(), "the end")
			}
		}
		a.Conn("bob@test").l.Fail(fmt.Errorf("so long: %w", ErrTickTimeout))
		e := arrives(t, events, "an event")
		require.Equal(t, DownTickTimeout, e.Why)
		require.ErrorIs(t, e.Err, ErrTickTimeout)
		connect(t, a, "bob@test")
		require.True(t, arrives(t, events, "an event").Up)
		require.NoError(t, a.Close())
		arrives(t, over, "the end of the loop")
		loops, _ := a.watches.Waiting()
		require.Zero(t, loops)
	})
}

// A loop ends with its context or by break; under NoWait it lists what is up.
func TestWatchNodesEnds(t *testing.T) {
	w := newWorld(t, "memory")
	a := w.started("alice")
	for _, alive := range []string{"bob", "carol"} {
		w.started(alive)
		connect(t, a, alive+"@test")
	}
	var up []string
	for e := range a.WatchNodes(transport.NoWait()) {
		up = append(up, e.Node)
	}
	require.ElementsMatch(t, []string{"bob@test", "carol@test"}, up)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	times := 0
	for range a.WatchNodes(ctx) {
		times++
		cancel() // what is still there is not yielded
	}
	require.Equal(t, 1, times)
	for range a.WatchNodes(t.Context()) {
		break
	}
	loops, _ := a.watches.Waiting()
	require.Zero(t, loops)
}

// Loops begin and end while connections do: each sees ups and downs of a node in turn.
func TestWatchNodesBesideEnd(t *testing.T) {
	w := newWorld(t, "memory")
	a, b := w.started("alice"), w.started("bob")
	stop := make(chan struct{})
	var loops sync.WaitGroup
	for range 4 {
		loops.Go(func() {
			for {
				up, seen := false, 0
				for e := range a.WatchNodes(t.Context()) {
					if e.Up == up {
						t.Errorf("twice: %v", e)
					}
					up = e.Up
					if seen++; seen == 5 {
						break
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { loops.Wait(); close(ended) }()
	for i := 0; ; i++ {
		if i == 300 {
			close(stop)
		}
		select {
		case <-ended:
			return
		default:
		}
		if c, err := b.Connect(w.ctx(), "alice@test"); err == nil {
			require.NoError(t, c.Close())
		}
	}
}

func TestDownReasonOf(t *testing.T) {
	for err, want := range map[error]DownReason{
		nil:                                    0,
		io.EOF:                                 DownClosedThere,
		io.ErrUnexpectedEOF:                    DownClosedThere,
		syscall.ECONNRESET:                     DownClosedThere,
		&net.OpError{Err: syscall.EPIPE}:       DownClosedThere,
		ErrClosed:                              DownClosedHere,
		ErrTickTimeout:                         DownTickTimeout,
		ErrSuperseded:                          DownSuperseded,
		ErrMoved:                               DownMoved,
		ErrFrameTooLong:                        DownBroken,
		syscall.EHOSTUNREACH:                   DownBroken,
		dist.ErrTooMuchIncomplete:              DownBroken,
		&Error{"connect", "x@y", ErrClosed}:    DownClosedHere,
		errors.Join(io.EOF, ErrSuperseded):     DownSuperseded,
		fmt.Errorf("tick: %w", ErrTickTimeout): DownTickTimeout,
	} {
		require.Equal(t, want, DownReasonOf(err), "%v", err)
	}
	for word, err := range map[string]error{ // for metrics, by the same table
		"closed":       ErrClosed,
		"peer_closed":  &net.OpError{Err: syscall.EPIPE},
		"tick_timeout": fmt.Errorf("%w, and nothing can be sent to it: %w", ErrTickTimeout, ErrClosed),
		"superseded":   errors.Join(io.EOF, ErrSuperseded),
		"moved":        ErrMoved,
		"malformed":    &dist.FrameError{Err: dist.ErrFrame},
		"error":        syscall.EHOSTUNREACH,
	} {
		got, _ := endOf(err)
		require.Equal(t, word, got, "%v", err)
	}
	var words []string
	for r := DownReason(0); r <= DownMoved; r++ {
		require.NotContains(t, words, r.String())
		words = append(words, r.String())
	}
	for types, want := range []string{"none", "visible", "hidden", "visible|hidden"} {
		require.Equal(t, want, NodeTypes(types).String())
	}
}
