package workers

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/need"

	"github.com/cnode-go/cnode/internal/test/party"
)

// frontSessionsVariable gives other numbers of sessions, for long runs, which then try all points.
const frontSessionsVariable = "CNODE_FRONT_KILL_SESSIONS"

// frontSessions are the numbers of sessions: one a worker, and several hundred. all says that every
// cell is tried with each number.
func frontSessions() (sizes []int, all bool) {
	for word := range strings.FieldsSeq(os.Getenv(frontSessionsVariable)) {
		if n, err := strconv.Atoi(word); err == nil {
			sizes = append(sizes, n)
		}
	}
	switch {
	case len(sizes) > 0:
		return sizes, true
	case testing.Short():
		return []int{frontWorkers}, false
	}
	return []int{frontWorkers, 300}, false
}

// scenesAtOnce is how many scenes run at a time: most of the time they wait, except those with many
// sessions, of which fewer run.
const (
	scenesAtOnce = 28
	largeAtOnce  = 6
)

// turns let subtests run beside each other, but not too many.
type turns chan struct{}

func (u turns) run(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		u <- struct{}{}
		defer func() { <-u }()
		f(t)
	})
}

// A front moves to another process, and then each of its workers does. Whichever process dies or
// stops meanwhile, and at whichever point, nothing waits for ever, at most one process has the
// listener and each session, and nothing is left over; no session that survives loses a message or
// gets one twice.
func TestFrontKillDuringMove(t *testing.T) {
	need.Descriptors(t, 4000)
	sizes, all := frontSessions()
	atOnce := scenesAtOnce
	if all {
		atOnce = largeAtOnce
	}
	u := make(turns, atOnce)
	for _, sessions := range sizes {
		decided := [2]handoffpoint.Point{handoffpoint.OwnerCommitted, handoffpoint.HeirOwns}
		cells := party.Cells([2][]handoffpoint.Point{ownerPoints, heirPoints}, decided)
		ofFront, ofWorker := cells, cells
		if testing.Short() {
			ofFront, ofWorker = party.Alternate(cells, decided, false), party.Alternate(cells, decided, true)
		}
		many := sessions > frontWorkers && !all
		for _, c := range ofFront {
			if !many || c.At == handoffpoint.OwnerFrozen {
				u.run(t, fmt.Sprintf("front/%d/%v", sessions, c), func(t *testing.T) {
					killFront(t, newFrontScene(t, sessions, c.Signal == syscall.SIGSTOP), c)
				})
			}
		}
		for _, c := range ofWorker {
			if !many || c.At == handoffpoint.OwnerCommitted || c.At == handoffpoint.HeirStaged {
				u.run(t, fmt.Sprintf("worker/%d/%v", sessions, c), func(t *testing.T) { killWorker(t, newFrontScene(t, sessions, false), c) })
			}
		}
	}
	plays := []struct {
		name string
		play func(*testing.T, *frontScene, handoffpoint.Point, syscall.Signal)
	}{
		{"front of workers that move", killUpgrading}, {"worker beside one that moves", killBeside},
		{"worker of a front that moves", killLeft},
	}
	for i, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		for j, at := range beside {
			for k, p := range plays {
				if testing.Short() && (i+j)%2+2*((j+k)%3) != 0 {
					continue // each point has one play, and one signal
				}
				u.run(t, fmt.Sprintf("%s/%v/%s", p.name, sig, at), func(t *testing.T) {
					p.play(t, newFrontScene(t, frontWorkers, false), at, sig)
				})
			}
		}
	}
	for _, at := range []handoffpoint.Point{handoffpoint.HeirPrepared, handoffpoint.HeirStateAll, handoffpoint.HeirOffered} {
		for name, play := range map[string]func(*testing.T, *frontScene, handoffpoint.Point){
			"no numbers in the new front": frontWithoutNumbers, "no numbers in the new worker": workerWithoutNumbers,
		} {
			u.run(t, name+"/"+string(at), func(t *testing.T) { play(t, newFrontScene(t, frontWorkers, false), at) })
		}
	}
}

// beside are the points at which another process than the two of the hand-off dies or stops.
var beside = []handoffpoint.Point{
	handoffpoint.OwnerGreeted, handoffpoint.OwnerFrozen, handoffpoint.OwnerAccepted, handoffpoint.OwnerCommitted, handoffpoint.OwnerReleased,
	handoffpoint.HeirStaged, handoffpoint.HeirStarted,
}

// killFront: a front dies or stops while it moves. At most one front goes on; with it go the
// workers, and no connection notices. If none does, all of it ends.
func killFront(t *testing.T, k *frontScene, c party.Cell[handoffpoint.Point]) {
	k.disturb(disturbance{At: c.At, Signal: c.Signal})
	party.Begin(t, k.sides)
	k.disturbed()
	k.comeLate()
	if c.Signal == syscall.SIGSTOP {
		k.sides[c.Victim].Halted(t)
		k.served()
	}
	c.Play(t, k.sides, func(owner *party.Party, _ string) {
		if owner != nil {
			k.served()
		}
	})
	if c.Owner() >= 0 {
		k.goesOn(c.Owner())
		return
	}
	for _, p := range k.sides {
		p.Leave(t)
	}
	k.closed()
	k.late.fails(t)
}

// frontWithoutNumbers: a new front that runs out of descriptor numbers changes nothing, and says
// why.
func frontWithoutNumbers(t *testing.T, k *frontScene, at handoffpoint.Point) {
	k.disturb(disturbance{At: at, NoFiles: true})
	party.Begin(t, k.sides)
	k.comeLate()
	for i, p := range k.sides {
		r := p.Report(t)
		require.Equal(t, i == 0, r.Owner, r.Err)
		require.NotEqual(t, "<nil>", r.Err)
	}
	k.served()
	k.goesOn(0)
}
