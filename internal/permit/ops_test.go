package permit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOpNames(t *testing.T) {
	require.Equal(t, "call|request|leader", (Call | Request | Leader).String())
	for _, name := range opNames {
		op, err := ParseOp(name)
		require.NoError(t, err)
		require.Equal(t, name, op.String())
	}
	every, err := ParseOp("any")
	require.NoError(t, err)
	require.Equal(t, all, every)
	_, err = ParseOp("calls")
	require.ErrorContains(t, err, `"calls" is no operation`)
}

func TestRuleThatDecides(t *testing.T) {
	table, err := Compile([]Rule{
		{Peer: "ci@*", Op: Request, Target: "till", Allow: true}, {Peer: "ci@*", Op: Send, Target: Talked, Allow: true},
		{Op: Call, Target: "shop:*", Allow: true}, {},
	})
	require.NoError(t, err)
	for _, tt := range []struct {
		op    Op
		name  string
		index int
		ok    bool
	}{{Request, "till", 0, true}, {Send, "till", 3, false}, {Send, Talked, 1, true}, {Leader, "till", 3, false}} {
		index, ok := table.FindProcess("ci@host", tt.op, tt.name)
		require.Equal(t, []any{tt.index, tt.ok}, []any{index, ok}, "%+v", tt)
	}
	index, ok := table.FindFunction("x@y", Call, "shop", "quote", 1)
	require.Equal(t, []any{2, true}, []any{index, ok})
	index, ok = table[:3].FindFunction("x@y", Spawn, "shop", "quote", 1)
	require.Equal(t, []any{-1, true}, []any{index, ok})
}
