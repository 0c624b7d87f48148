package nodes

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// The text of an error has the whole of a reason that a person reads, and the beginning of any other.
func TestReasonTexts(t *testing.T) {
	pid := ei.Pid{Node: "n@h", ID: 1, Serial: 2, Creation: 3}
	usual := ei.Tuple{ei.Atom("undef"), ei.List{ei.Atom("m")}}
	long := ei.Binary(strings.Repeat("x", 5<<20))
	for _, tt := range []struct {
		err   func(reason ei.Term) error
		usual string
	}{
		{func(r ei.Term) error { return &RPCError{r} }, "{badrpc,{undef,[m]}}"},
		{func(r ei.Term) error { return &ExitError{Reason: r} }, "process exited: {undef,[m]}"},
		{func(r ei.Term) error { return &ExitError{pid, r} }, "process #Pid<n@h.1.2.3> exited: {undef,[m]}"},
	} {
		require.EqualError(t, tt.err(usual), tt.usual)
		text := tt.err(long).Error()
		require.Contains(t, text, "<<\"xxxx")
		require.Less(t, len(text), 2*reasonText)
		require.NotEmpty(t, tt.err(nil).Error())
	}
}
