package otp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

func TestReadRequest(t *testing.T) {
	pid := ei.Pid{Node: "a@host", ID: 7, Creation: 1}
	ref := ei.Ref{Node: "a@host", Creation: 1, Len: 3, ID: [5]uint32{1, 2, 3}}
	encoded := func(v any) ei.Raw {
		raw, err := ei.Append(nil, v)
		require.NoError(t, err)
		return raw
	}
	tag, body := encoded(ref), encoded(ei.T("add", 1, 2))
	for name, tt := range map[string]struct {
		message any
		want    Request
		isCall  bool // as it begins
	}{
		"a call": {ei.T("$gen_call", ei.Tuple{pid, ref}, body), Request{Call, Addressee{Pid: pid}, tag, body}, true},
		"a call of an alias": {
			ei.T("$gen_call", ei.Tuple{ref, ref}, body), Request{Call, Addressee{ei.Pid{Node: "a@host"}, ref}, tag, body}, true,
		},
		"of module sys":       {ei.T("system", ei.Tuple{pid, ref}, body), Request{System, Addressee{Pid: pid}, tag, body}, false},
		"a cast":              {ei.T("$gen_cast", body), Request{Kind: Cast, Body: body}, false},
		"a cast of too much":  {ei.T("$gen_cast", body, body), Request{}, false},
		"a call of nobody":    {ei.T("$gen_call", ei.Tuple{ei.Int(1), ref}, body), Request{}, true},
		"a call without tag":  {ei.T("$gen_call", ei.Tuple{pid}, body), Request{}, true},
		"a call without from": {ei.T("$gen_call", pid, body), Request{}, true},
		"a call for nothing":  {ei.T("$gen_call", ei.Tuple{pid, ref}), Request{}, false},
		"another tuple":       {ei.T("add", 1, 2), Request{}, false},
		"no tuple":            {7, Request{}, false},
	} {
		message := encoded(tt.message)
		require.Equal(t, tt.want, ReadRequest(message), name)
		require.Equal(t, tt.isCall, IsCall(message), name)
		for n := range len(message) { // cut off
			require.Equal(t, Request{}, ReadRequest(message[:n]), name)
		}
	}
}
