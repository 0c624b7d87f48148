package global_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cnode-go/cnode/internal/test/accord"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/nodestest"
)

// Nodes that register names by chance while connections between them break, and processes of global
// are ended, agree in the end.
func TestAccord(t *testing.T) {
	for seed := range otp.Times("CNODE_ACCORD", need.Fewer(4, 10)) {
		size := 3 + seed%2
		t.Run(fmt.Sprintf("%d of %d nodes", seed, size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := nodestest.New(t)
				c := &accord.Cluster{Members: make([]accord.Member, size), Pause: 400 * time.Millisecond, Limit: time.Minute}
				start := func(i int) {
					x := &accord.Node{}
					net.Node(string(rune('a'+i)), func(cfg *nodes.Config) {
						cfg.Visible, cfg.TickInterval, cfg.Setup = true, 200*time.Millisecond, x.Setup
					})
					c.Members[i] = x
				}
				for i := range size {
					start(i)
				}
				c.Cut = func(r *rand.Rand, a, b accord.Member) {
					if r.IntN(2) == 0 {
						net.Cut(a, b)
					} else {
						net.Silence(a, b)
					}
				}
				c.Mend = func(_ *rand.Rand, a, b accord.Member) { net.Mend(a, b) }
				c.Restart = func(i int) {
					c.Members[i].(*accord.Node).Close()
					start(i)
				}
				c.Run(t, uint64(seed))
			})
		})
	}
}
