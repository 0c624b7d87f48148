package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/cnode-go/cnode/internal/handoffpoint"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/cnode-go/cnode/internal/test/party"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport/handoff"
)

// frontVariable says that the test program is a front, the old one or the new one, of a test in
// which something goes wrong while it moves with its workers.
const frontVariable = "CNODE_TEST_FRONT"

// A frontOrder tells a front what to do.
type frontOrder struct {
	Heir  bool
	Short bool // the deadlines are short
}

// A census counts what a process has open and running.
type census struct{ Descriptors, Goroutines int }

func newCensus() census {
	return census{len(party.Open(os.Getpid())), runtime.NumGoroutine()}
}

func (a census) plus(b census) census {
	return census{a.Descriptors + b.Descriptors, a.Goroutines + b.Goroutines}
}
func (a census) minus(b census) census {
	return census{a.Descriptors - b.Descriptors, a.Goroutines - b.Goroutines}
}

// A frontStart is what a front reports at the beginning.
type frontStart struct {
	Base    census // what is due when the hand-off is over and the front is not here
	Bare    census // what there is before there is a front
	Addr    string
	Workers []Info
}

// A movedWorker is a Upgrade.
type movedWorker struct {
	Slot, Old, New int
	Err            string
}

// What a front can be asked after its report, and the type of the answer.
const (
	askUpgrade = "upgrade" // []movedWorker
	askCensus  = "census"  // census
	askStacks  = "stacks"  // string: what its goroutines do
)

// testFront is what the old front and the new one have in common.
func testFront(dir peersDir) Config {
	return Config{
		Node: nodes.Config{
			Name: frontName, Cookie: "secret", Resolver: dir, Listen: mustParse("127.0.0.1:0"), TickInterval: seldomTicks,
		},
		Workers: frontWorkers,
		Choose:  BySessions, Patience: workerPatience,
		Command: func() *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env, cmd.Stderr = os.Environ(), os.Stderr
			return cmd
		},
	}
}

// runFrontSide is the main function of a front.
func runFrontSide() int {
	var o frontOrder
	err := json.Unmarshal([]byte(os.Getenv(frontVariable)), &o)
	if err == nil {
		err = o.run(context.Background(), party.NewSide())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "front:", err)
		return 1
	}
	return 0
}

func (o frontOrder) run(ctx context.Context, test *party.Side) (err error) {
	start := frontStart{Base: newCensus()}
	start.Base.Descriptors-- // the channel
	ch, err := handoff.FileChannel(os.NewFile(3, "channel"))
	if err != nil {
		return err
	}
	start.Bare = newCensus()
	cfg := testFront(testPeers())
	var f *Front
	if !o.Heir {
		if f, err = Start(ctx, cfg); err != nil {
			return err
		}
		start.Addr, start.Workers = f.Addr().String(), f.Workers()
	}
	var asked string
	if err := errors.Join(test.Tell(start), test.Hear(&asked), test.Tell(newCensus()), test.Ready()); err != nil {
		return err
	}
	r := party.Report{PID: os.Getpid()}
	reached, d := testPeers().disturb, deadlines(o.Short)
	if o.Heir {
		_, err = (&handoff.Acceptance{
			Stage: func(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
				g, err := Restore(cfg, state, fds)
				if err != nil {
					return nil, err
				}
				f = g.Front()
				return g, nil
			}, Deadlines: d,
		}).Take(handoffpoint.With(ctx, reached), ch)
		var h *handoff.Error
		r.Owner = err == nil || errors.As(err, &h) && h.Owns
	} else {
		var h handoff.Handed
		h, err = (&handoff.Offer{
			Freeze: func(ctx context.Context) (handoff.Frozen, error) {
				e, err := f.Freeze(ctx)
				if err != nil {
					return nil, err
				}
				return e, nil
			}, Deadlines: d,
		}).Give(handoffpoint.With(ctx, reached), ch)
		r.Owner = !h.Moved
	}
	r.Err = fmt.Sprint(err)
	err = nil
	if !r.Owner {
		if !o.Heir {
			err = f.Close() // the other process has the front: only goroutines are left to end
		}
		f = nil
	}
	if err := errors.Join(err, ch.Close(), test.Tell(r)); err != nil {
		return err
	}
	for {
		var what string
		switch err := test.Hear(&what); {
		case err == io.EOF && f != nil:
			return f.Close()
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		var answer any
		switch what {
		case askUpgrade:
			if answer, err = upgradeWorkers(ctx, f); err != nil {
				return err
			}
		case askCensus:
			answer = newCensus()
		case askStacks:
			answer = stacks()
		}
		if err := test.Tell(answer); err != nil {
			return err
		}
	}
}

func upgradeWorkers(ctx context.Context, f *Front) (moved []movedWorker, err error) {
	list, err := f.UpgradeWorkers(ctx)
	for _, u := range list {
		m := movedWorker{Slot: u.Slot, Old: u.Old, New: u.New}
		if u.Err != nil {
			m.Err = u.Err.Error()
		}
		moved = append(moved, m)
	}
	return moved, err
}

// Points at which a side is killed or stopped: those where that makes a difference.
var (
	ownerPoints = []handoffpoint.Point{
		handoffpoint.OwnerGreeted, handoffpoint.OwnerFrozen, handoffpoint.OwnerDescriptorsSent,
		handoffpoint.OwnerStateSent, handoffpoint.OwnerAccepted,
		handoffpoint.OwnerCommitted,
		handoffpoint.OwnerHeard, handoffpoint.OwnerReleased,
	}
	heirPoints = []handoffpoint.Point{
		handoffpoint.HeirPrepared, handoffpoint.HeirStateAll, handoffpoint.HeirOffered,
		handoffpoint.HeirStaged, handoffpoint.HeirWaits, handoffpoint.HeirOwns,
		handoffpoint.HeirStarted,
		handoffpoint.HeirSaid,
	}
)

// deadlines are shorter if a side is stopped: the other side waits for it until a deadline is over.
// All are long enough for a side that goes on.
func deadlines(short bool) handoff.Deadlines {
	if !short {
		return handoff.Deadlines{}
	}
	const d = 10 * time.Second
	return handoff.Deadlines{Hello: d, Static: d, Freeze: d, Offer: d, Stage: d, Take: d, Goodbye: d}
}
