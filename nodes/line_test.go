package nodes

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// What nobody waits for stays in the queue for a moment, all else takes it along at once.
func TestIdleWordsWait(t *testing.T) {
	took := word{Topic: sayTook}
	up := word{Topic: sayUp, Key: "x@a", Name: "x@a"}
	over := word{Topic: sayOver, Name: "x@a"}
	for _, tt := range []struct {
		name  string
		words []word
		out   bool
	}{
		{"a session taken, come up and over", []word{took, up, over}, false},
		{"a connection that this side has ended", []word{took, up, {Topic: sayOver, Name: "x@a", now: true}}, true},
		{"a peer that had no name", []word{took, {Topic: sayUp, Name: "dynamic@a"}}, true},
		{"a question", []word{took, {Topic: sayLookup, ID: 1, Name: "n"}}, true},
		{"many", slices.Repeat([]word{took}, lullWords+1), true},
		{"not yet many", slices.Repeat([]word{took}, lullWords), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &line{ready: make(chan struct{}, 1), lulled: true} // no writer, and no timer
			for _, w := range tt.words {
				require.Empty(t, l.ready)
				require.True(t, l.say(w))
			}
			require.Len(t, l.ready, map[bool]int{true: 1}[tt.out])
			require.Len(t, l.queue, len(tt.words))
		})
	}
}
