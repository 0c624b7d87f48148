package otp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// The exit reasons that erpc:execute_call ends with, and any others, as erpc:call sees them.
func TestERPCResult(t *testing.T) {
	res := ei.Ref{Node: "x@test", Creation: 7, Len: 3, ID: [5]uint32{1, 2, 3}}
	other := ei.Ref{Node: "x@test", Creation: 7, Len: 3, ID: [5]uint32{1, 2, 4}}
	a := func(s string) ei.Term { return ei.Atom(s) }
	for _, tt := range []struct {
		reason ei.Term
		class  ei.Atom // "": the value is 1
		want   ei.Term
	}{
		{ei.Tuple{res, a("return"), ei.Int(1)}, "", nil},
		{ei.Tuple{res, a("throw"), a("x")}, "throw", a("x")},
		{ei.Tuple{res, a("exit"), a("x")}, "exit", ei.Tuple{a("exception"), a("x")}},
		{ei.Tuple{res, a("error"), a("x"), ei.List{}}, "error", ei.Tuple{a("exception"), a("x"), ei.List{}}},
		{ei.Tuple{res, a("error"), ei.Tuple{a("erpc"), a("system_limit")}}, "error", ei.Tuple{a("erpc"), a("system_limit")}},
		{a("noconnection"), "error", ei.Tuple{a("erpc"), a("noconnection")}},
		{a("killed"), "exit", ei.Tuple{a("signal"), a("killed")}},
		{ei.Tuple{}, "exit", ei.Tuple{a("signal"), ei.Tuple{}}},
		{ei.Tuple{other, a("return"), ei.Int(1)}, "exit", ei.Tuple{a("signal"), ei.Tuple{other, a("return"), ei.Int(1)}}},
		{ei.Tuple{res, a("return")}, "exit", ei.Tuple{a("signal"), ei.Tuple{res, a("return")}}},
		{ei.Tuple{res, a("error"), a("x")}, "exit", ei.Tuple{a("signal"), ei.Tuple{res, a("error"), a("x")}}},
		{ei.Tuple{res, a("what"), a("x")}, "exit", ei.Tuple{a("signal"), ei.Tuple{res, a("what"), a("x")}}},
		{ei.Tuple{ei.Map{}, a("throw"), a("x")}, "exit", ei.Tuple{a("signal"), ei.Tuple{ei.Map{}, a("throw"), a("x")}}},
	} {
		raw, err := ei.AppendTerm(nil, tt.reason)
		require.NoError(t, err)
		value, e, err := ERPCResult(raw, res)
		require.NoError(t, err, tt.reason)
		if tt.class == "" {
			require.Nil(t, e)
			v, err := value.Int()
			require.NoError(t, err)
			require.EqualValues(t, 1, v)
			continue
		}
		require.Equal(t, tt.class, e.Class, tt.reason)
		require.Equal(t, tt.want.String(), e.Reason.String())
	}
	for _, broken := range []ei.Raw{nil, {}, {104}, {104, 3, 90}, {131, 104, 0}} {
		_, _, err := ERPCResult(broken, res)
		require.Error(t, err, "% x", broken)
	}
}

func TestSpawnResult(t *testing.T) {
	pid := ei.Pid{Node: "x@test", ID: 5, Creation: 7}
	raw := func(term ei.Term) ei.Raw {
		b, err := ei.AppendTerm(nil, term)
		require.NoError(t, err)
		return b
	}
	got, reason, err := SpawnResult(raw(pid))
	require.NoError(t, err)
	require.Nil(t, reason)
	require.Equal(t, pid, got)
	_, reason, err = SpawnResult(raw(ei.Atom("badopt")))
	require.NoError(t, err)
	require.Equal(t, ei.Atom("badopt"), reason)
	for _, odd := range []ei.Raw{nil, {}, raw(ei.Int(1)), {119, 9}} {
		_, _, err = SpawnResult(odd)
		require.Error(t, err)
	}
}

// What is asked for is what the other side reads.
func TestSpawnOptionsAppend(t *testing.T) {
	for _, o := range []SpawnOptions{{}, {Link: true}, {Monitor: true}, {Link: true, Monitor: true}} {
		got, err := ParseSpawnOptions(o.Append(nil))
		require.NoError(t, err)
		require.Equal(t, o, got)
	}
}
