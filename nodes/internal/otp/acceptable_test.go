package otp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// What a node cannot have made is found wherever it is in a term, and only if it is that node's.
func TestPossibleIdentifiers(t *testing.T) {
	const node = "good@test"
	ref := func(first uint32) ei.Ref { return ei.Ref{Node: node, Creation: 7, Len: 3, ID: [5]uint32{first, 1, 2}} }
	for _, good := range []ei.Term{ei.Pid{Node: node, ID: 1<<28 - 1}, ei.Port{Node: node, ID: 1<<60 - 1}, ref(1<<18 - 1)} {
		require.True(t, Possible(good, node), good)
		require.True(t, Possible(ei.Tuple{good, ei.Map{{Key: good, Value: good}}}, node), good)
	}
	for _, bad := range []ei.Term{ei.Pid{Node: node, ID: 1 << 28}, ei.Port{Node: node, ID: 1 << 60}, ref(1 << 18)} {
		for _, in := range []ei.Term{
			bad, ei.Tuple{ei.Int(1), bad}, ei.List{ei.Int(1), bad}, ei.List{ei.Tuple{bad}},
			ei.ImproperList{Elems: []ei.Term{bad}, Tail: ei.Int(1)}, ei.ImproperList{Elems: []ei.Term{ei.Int(1)}, Tail: bad},
			ei.Fun{Free: []ei.Term{bad}}, ei.Map{{Key: bad, Value: ei.Int(1)}}, ei.Map{{Key: ei.Int(1), Value: bad}},
			ei.Record{Fields: []ei.Field{{Name: "f", Value: bad}}},
		} {
			require.False(t, Possible(in, node), in)
			require.True(t, Possible(in, "other@test"), in)
		}
	}
	require.False(t, Possible(ei.Fun{Pid: ei.Pid{Node: node, ID: 1 << 28}}, node))
}
