package talk

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Words that the other side does not wait for stay in the queue for a moment; any other word takes
// them along at once.
func TestIdleWordsWait(t *testing.T) {
	took := Word{Topic: Took}
	up := Word{Topic: Up, Key: "x@a", Name: "x@a"}
	over := Word{Topic: Over, Name: "x@a"}
	for _, tt := range []struct {
		name  string
		words []Word
		out   bool
	}{
		{"a session taken, come up and over", []Word{took, up, over}, false},
		{"a connection that this side has ended", []Word{took, up, {Topic: Over, Name: "x@a", Now: true}}, true},
		{"a peer that had no name", []Word{took, {Topic: Up, Name: "dynamic@a"}}, true},
		{"a question", []Word{took, {Topic: Lookup, ID: 1, Name: "n"}}, true},
		{"many", slices.Repeat([]Word{took}, LullWords+1), true},
		{"not yet many", slices.Repeat([]Word{took}, LullWords), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &Line{ready: make(chan struct{}, 1), lulled: true} // no writer, and no timer
			for _, w := range tt.words {
				require.Empty(t, l.ready)
				require.True(t, l.Say(w))
			}
			require.Len(t, l.ready, map[bool]int{true: 1}[tt.out])
			require.Len(t, l.queue, len(tt.words))
		})
	}
}

// FD and Now cannot be set by the JSON of a word: its descriptor is the one that came with it,
// whatever the other process writes.
func TestNoDescriptorByName(t *testing.T) {
	var words []Word
	require.NoError(t, parseWords([]byte(`[{"t":"here","FD":1,"fd":1,"Now":true},{"t":"here","FD":2,"fd":2}]`), 0, func(w Word) {
		words = append(words, w)
	}))
	require.Equal(t, []Word{{Topic: Here}, {Topic: Here}}, words)
}
