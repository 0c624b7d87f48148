//go:build unix

package transporttest

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/race"
	"github.com/cnode-go/cnode/transport"
)

// All good plug-ins are tried at the same time, several times each, on a machine that is also kept
// busy; once and by nothing else with the race detector, which does that itself. With -short those
// that differ in little stand for each other.
// TRANSPORTTEST_ROUNDS is how many times, for longer runs.
func TestGoodPluginsAreNeverAccused(t *testing.T) {
	rounds, hogs := 2, 3
	if race.Enabled || testing.Short() {
		rounds, hogs = 1, 0
	}
	if n, err := strconv.Atoi(os.Getenv("TRANSPORTTEST_ROUNDS")); err == nil {
		rounds = n
	}
	var stop atomic.Bool
	var burners sync.WaitGroup
	for range hogs {
		burners.Go(func() {
			for work := uint64(1); !stop.Load(); work *= work + 1 {
			}
		})
	}
	t.Cleanup(func() { stop.Store(true); burners.Wait() })
	for _, g := range goods() {
		if testing.Short() && slices.Contains(alike, g.name) {
			continue
		}
		for range rounds {
			t.Run(g.name, func(t *testing.T) {
				t.Parallel()
				Run(t, g.factory(t))
			})
		}
	}
}

// A plug-in that refuses a Connect at once when the backlog is full, with its own error, is not
// reported if the machine stalls just then, so that the Connect seems to have waited.
func TestRefusingCrowdIsNotAccused(t *testing.T) {
	for name, stalled := range map[string]error{"refused late": unix.ENOBUFS, "timed out": os.ErrDeadlineExceeded} {
		t.Run(name, func(t *testing.T) {
			cb := polling(true)
			connect := cb.Connect
			var mu sync.Mutex
			tries := map[string]int{}
			cb.Connect = func(s *pollSocket, a transport.Addr, tmo time.Duration) error {
				mu.Lock()
				tries[a.String()]++
				n := tries[a.String()]
				mu.Unlock()
				switch {
				case n <= 2:
					return connect(s, a, tmo)
				case n == 3:
					time.Sleep(min(tmo, 2*short)) // CancelConnect has no other limit
					return stalled
				}
				return unix.ENOBUFS
			}
			s := newSuite(always(must(t, cb), loopback()), generous())
			s.rules = slices.DeleteFunc(s.rules, func(r rule) bool {
				return r.name != "ConnectDeadline" && r.name != "ConnectNoWait" && r.name != "CancelConnect"
			})
			require.Len(t, s.rules, 3)
			require.NoError(t, s.check())
		})
	}
}

// The hooks of the two ends may talk to each other, as for a last round of the plug-in's own
// handshake.
func TestHooksMaySpeakToEachOther(t *testing.T) {
	t.Parallel()
	cb := polling(true)
	hook := func(s *pollSocket) error {
		if _, err := cb.Write(s, []byte{'k'}, transport.Infinite); err != nil {
			return err
		}
		return expect.Err(cb.Read(s, make([]byte, 1), transport.Infinite))
	}
	cb.ConnectHandshakeComplete, cb.AcceptHandshakeComplete = hook, hook
	keeps(t, always(must(t, cb), loopback()), generous(), "Hooks", "Leaks")
}

// A plug-in that refuses the suite's name may end the connection by that, and may need a name
// before a handshake succeeds.
func TestRefusingNameIsNotAccused(t *testing.T) {
	for name, refuse := range map[string]func(cb *transport.Callbacks[int], refused error){
		"and ends the connection": func(cb *transport.Callbacks[int], refused error) {
			cb.CheckPeer = func(fd int, _ string) error { return errors.Join(refused, unix.Shutdown(fd, unix.SHUT_RDWR)) }
		},
		"and wants one for a hook": func(cb *transport.Callbacks[int], refused error) {
			cb.CheckPeer = func(int, string) error { return refused }
			cb.ConnectHandshakeComplete = func(int) error { return refused }
			cb.AcceptHandshakeComplete = cb.ConnectHandshakeComplete
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cb := transport.TCPCallbacks()
			refuse(&cb, errors.New("not a node of ours"))
			keeps(t, always(must(t, cb), loopback()), generous(), "Hooks", "Leaks")
		})
	}
}
