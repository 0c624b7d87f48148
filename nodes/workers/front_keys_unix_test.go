//go:build unix

package workers

import (
	"bytes"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// What plug-ins have put into the state of a front or a worker is cleared once the state has been
// used, and so is what they have put into a session that nobody has taken.
func TestKeysAreCleared(t *testing.T) {
	keys := []byte("the keys of the session")
	waits := of(talk.Describe(new(descriptor.Table), []talk.Message{&talk.Session{State: keys}})).must(t)
	encoded := base64.StdEncoding.EncodeToString(keys)
	front := of(form.Write(t.Context().Err, states.KindFront, &states.Front{Crew: []states.Crewman{{Unsent: waits}}})).must(t)
	worker := of(form.Write(t.Context().Err, states.KindWorker, &states.Worker{Unsent: waits, Work: waits})).must(t)
	for _, tt := range []struct {
		state []byte
		end   func(f *Front, node *nodes.Frozen, state []byte)
	}{
		{front, func(f *Front, node *nodes.Frozen, state []byte) { (&Frozen{f: f, node: node, state: state}).Thaw() }},
		{front, func(f *Front, node *nodes.Frozen, state []byte) {
			_ = (&Frozen{f: f, node: node, state: state}).Release()
		}},
		{worker, func(f *Front, node *nodes.Frozen, state []byte) {
			(&workerEstate{Frozen: node, w: &Worker{n: f.n}, state: state}).Thaw()
		}},
	} {
		state := bytes.Clone(tt.state)
		require.Contains(t, string(state), encoded)
		f := of(newFront(Config{Workers: 1})).must(t)
		n := of(nodes.New(nodes.Config{Name: "a@b", Cookie: "c", Resolver: nodes.Static{}})).must(t)
		t.Cleanup(func() { require.NoError(t, n.Close()) })
		f.join(insideOf(n))
		node := of(f.n.Still(soon(t))).must(t)
		tt.end(f, node, state)
		require.NotContains(t, string(state), encoded)
	}

	var taken states.Front
	require.NoError(t, form.Read(states.KindFront, front, &taken))
	clearMessages(taken.Crew[0].Unsent) // as the new process does
	require.NotContains(t, string(front), encoded)

	f2 := &talk.Session{State: bytes.Clone(keys)}
	talk.Drop(f2)
	require.NotContains(t, string(f2.State), string(keys))
}
