package talk

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Messages that the other side does not wait for stay in the queue for a moment; any other message
// takes them along at once.
func TestMessagesWait(t *testing.T) {
	took := &Took{}
	up := &Up{Key: "x@a", Peer: "x@a"}
	over := &Over{Peer: "x@a"}
	for _, tt := range []struct {
		name string
		list []Message
		out  bool
	}{
		{"a session taken, come up and over", []Message{took, up, over}, false},
		{"a connection that this side has ended", []Message{took, up, &Over{Peer: "x@a", Now: true}}, true},
		{"a peer that had no name", []Message{took, &Up{Peer: "dynamic@a"}}, true},
		{"a question", []Message{took, &Lookup{ID: 1, Name: "n"}}, true},
		{"many", slices.Repeat([]Message{took}, LullCount+1), true},
		{"not yet many", slices.Repeat([]Message{took}, LullCount), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &Line{ready: make(chan struct{}, 1), lulled: true} // no writer, and no timer
			for _, w := range tt.list {
				require.Empty(t, l.ready)
				require.True(t, l.Say(w))
			}
			require.Len(t, l.ready, map[bool]int{true: 1}[tt.out])
			require.Len(t, l.queue, len(tt.list))
		})
	}
}

// The descriptor of a message, and Now, cannot be set by its JSON: the descriptor is the one that
// came with it, whatever the other process writes.
func TestNoDescriptorByName(t *testing.T) {
	var list []Message
	require.NoError(t, parseAll([]byte(`[{"topic":"session_socket","FD":1,"fd":1},`+
		`{"topic":"over","FD":2,"fd":2,"Now":true},{"topic":"odd","FD":3}]`),
		0, func(m Message) {
			list = append(list, m)
		}))
	require.Equal(t, []Message{&SessionSocket{}, &Over{}, &Unknown{Topic: "odd", JSON: []byte(`{"topic":"odd","FD":3}`)}}, list)
}
