package upgrade

import (
	"context"
	"fmt"

	"github.com/cnode-go/cnode/nodes/internal/inside"
)

// A crew is the upgrade of the previous process's workers, after that of their front.
type crew struct {
	done   chan struct{} // closed when it is over
	failed []error       // one for each worker that is not upgraded
	err    error
}

// newCrew begins it; it ends with the front. Workers that are this front's own need none.
func newCrew(f inside.Crewed, inherited bool) *crew {
	c := &crew{done: make(chan struct{})}
	if !inherited {
		close(c.done)
		return c
	}
	go func() {
		defer close(c.done)
		c.failed, c.err = f.UpgradeCrew(context.Background())
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
	for _, err := range c.failed[:min(len(c.failed), maxFailures)] {
		texts = append(texts, fmt.Sprintf("%.550s", err))
	}
	if more := len(c.failed) - maxFailures; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return texts
}
