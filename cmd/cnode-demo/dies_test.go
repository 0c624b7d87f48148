package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

// diesVariable makes the test's own program, started by upgrade, a new process that dies once it
// owns everything.
const diesVariable = "CNODE_TEST_DIES"

func dieAsOwner() {
	ch, err := service.Coming()
	if err == nil {
		_, err = (&handoff.Acceptance{
			Terms: handoff.Terms{Plugins: []string{transport.TCP().Name()}, Know: append(nodes.Config{}.Terms().Know, "cnode-upgrade-node-2")},
			Stage: func(context.Context, []byte, []int) (handoff.Staged, error) { return stillborn{}, nil },
		}).Take(handoffpoint.With(context.Background(), func(p handoffpoint.Point) {
			if p == handoffpoint.HeirOwns && os.Getenv(diesVariable) != failsToStart {
				os.Exit(1)
			}
		}), ch)
	}
	fmt.Fprintln(os.Stderr, "the token did not come:", err)
	os.Exit(2)
}

// failsToStart is the value of diesVariable for a new process that lives until its start has
// failed.
const failsToStart = "start"

type stillborn struct{}

func (stillborn) Start(context.Context) error { return errors.New("no room at the inn") }
func (stillborn) Discard() error              { return nil }
