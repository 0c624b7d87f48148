package upgrade

import (
	"context"
	"fmt"

	"github.com/cnode-go/cnode/nodes"
)

// A crew is the upgrade of the previous process's workers, after that of their front.
type crew struct {
	done chan struct{} // closed when it is over
	list []nodes.WorkerUpgrade
	err  error
}

// newCrew begins it; it ends with the front. Workers that are this front's own need none.
func newCrew(f *nodes.Front, inherited bool) *crew {
	c := &crew{done: make(chan struct{})}
	if !inherited {
		close(c.done)
		return c
	}
	go func() {
		defer close(c.done)
		c.list, c.err = f.UpgradeWorkers(context.Background())
	}()
	return c
}

// maxFailures bounds the failures that are listed one by one: an answer is a single packet.
const maxFailures = 20

// failures says, once it is over, which workers are not upgraded.
func (c *crew) failures() (texts []string) {
	if c.err != nil {
		return []string{c.err.Error()}
	}
	failed := 0
	for _, u := range c.list {
		if u.Err == nil {
			continue
		}
		if failed++; failed <= maxFailures {
			texts = append(texts, fmt.Sprintf("worker %d (process %d): %.500s", u.Slot, u.Old, u.Err))
		}
	}
	if failed > maxFailures {
		texts = append(texts, fmt.Sprintf("and %d more", failed-maxFailures))
	}
	return texts
}
