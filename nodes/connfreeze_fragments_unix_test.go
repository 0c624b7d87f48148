//go:build unix

package nodes

import (
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A connection moves again and again while large messages are under way in both directions, several
// at a time in each: they arrive whole and once, in the order of each sender, with small messages
// of others between their fragments.
func TestMoveAmidFragments(t *testing.T) {
	size := 1 << 20
	if testing.Short() {
		size /= 4
	}
	l := load{senders: 4, narrow: true, moves: 20, message: func(i int64) ei.Term {
		if i%2 == 1 {
			return ei.Tuple{ei.Int(i), ei.Binary(make([]byte, 10))}
		}
		return ei.Tuple{ei.Int(i), ei.Binary(make([]byte, size))}
	}}
	inWorlds(t, movers, l.move)
	l.flags = dist.FlagsDefault &^ dist.FlagDistHdrAtomCache
	t.Run("without atom cache", func(t *testing.T) { l.move(t, newWorld(t, movers[0])) })
}
