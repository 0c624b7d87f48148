package upgrade

import (
	"testing"
	"testing/synctest"

	"github.com/cnode-go/cnode/nodes"
)

// A deaf node has been told to end, and listens no more.
type deaf struct{ whole }

func (deaf) Listeners() []*nodes.Listener { return nil }

// A node may be told to end as soon as it runs. The bubble waits for what looks at its listeners.
func TestRunsWithoutListeners(t *testing.T) {
	synctest.Test(t, func(*testing.T) { (&owner{whole: deaf{}}).runs(false) })
}
