package beam

import (
	"bufio"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// A told is what another node is told of a room by Presence, and whom it takes to be there then.
type told struct {
	at                         time.Time
	joins, leaves, here, metas int
}

// presence logs what another node sees of the users of a BEAM that ends. All of them are there in
// the end, once each, and where another node's name goes on they are never away.
func presence(t *testing.T, e otp.Elixir, lib []string) {
	need.Long(t, 90*time.Second)
	const users = 100
	const watcher = "watcher@127.0.0.1"
	h := newFront(t)
	t.Setenv("ERL_EPMD_PORT", fmt.Sprint(otp.Epmd(t)))
	args := func(name, run string) []string {
		return append([]string{"--name", name, "--cookie", "rooms"}, append(lib, "-e", run)...)
	}
	watches := exec.Command(e.Program, args(watcher, "Rooms.watch()")...)
	watches.Stderr = t.Output()
	out, err := watches.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, watches.Start())
	t.Cleanup(func() { _ = watches.Process.Kill(); _ = watches.Wait() })
	said := bufio.NewScanner(out)
	for said.Scan() && said.Text() != "watches" {
		t.Log(said.Text())
	}
	t.Setenv("WATCHER", watcher)
	var mu sync.Mutex
	var all []told
	go func() {
		for said.Scan() {
			n := told{at: time.Now()}
			if _, err := fmt.Sscanf(said.Text(), "room %d %d %d %d", &n.joins, &n.leaves, &n.here, &n.metas); err != nil {
				continue // its log
			}
			mu.Lock()
			all = append(all, n)
			mu.Unlock()
		}
	}()
	start := func(name string) *worker {
		return serve(t, h, e.Program, args(name+"@127.0.0.1", fmt.Sprintf("Rooms.run(%q)", h.path))...)
	}
	// until all who were there have come again, and are there once each
	seen := func(leaves int) []told {
		t.Helper()
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			joined, left := 0, 0
			for _, n := range all {
				joined, left = joined+n.joins, left+n.leaves
			}
			return joined >= users && left >= leaves && all[len(all)-1].here == users && all[len(all)-1].metas == users
		}, 2*expect.Limit, 10*time.Millisecond, "%v", all)
		mu.Lock()
		defer mu.Unlock()
		these := all
		all = nil
		return these
	}
	w := start("blue")
	p := hold(t, users, time.Second, func() (*talker, error) { return talk(h.addr, "/client", 50*time.Millisecond, dialPlain) })
	seen(0)
	for _, how := range []struct {
		what, next string
		by         syscall.Signal
		before     bool // the next one is there before this one ends
	}{
		{"killed, and again with its name", "blue", syscall.SIGKILL, false},
		{"stopped, and again with its name", "blue", syscall.SIGTERM, false},
		{"stopped beside another", "green", syscall.SIGTERM, true},
		{"killed beside another", "blue", syscall.SIGKILL, true},
	} {
		p.works(t)
		var next *worker
		if how.before {
			next = start(how.next)
		}
		at := time.Now()
		require.NoError(t, syscall.Kill(w.pid, how.by))
		w.wait()
		if !how.before {
			next = start(how.next)
		}
		w = next
		least, text := users, ""
		for _, n := range seen(users) {
			least = min(least, n.here)
			text += fmt.Sprintf("; %v: %d join, %d leave, %d there", n.at.Sub(at).Round(10*time.Millisecond), n.joins, n.leaves, n.here)
		}
		t.Logf("%s: at least %d of %d there%s", how.what, least, users, text)
		if how.before && how.by == syscall.SIGKILL {
			require.Equal(t, users, least)
		}
	}
	p.end(t, time.Now())
}
