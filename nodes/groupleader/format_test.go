package groupleader

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// What real nodes print is compared in test/interop/processes; this is what they do not show.
func TestFormat(t *testing.T) {
	deep := ei.Term(ei.List{})
	for range 100_000 {
		deep = ei.Tuple{deep}
	}
	for _, tt := range []struct {
		format string
		args   []ei.Term
		want   string
	}{
		{"~s and ~p~n", []ei.Term{ei.Binary("text"), ei.String("text")}, "text and \"text\"\n"},
		{"é~ts", []ei.Term{ei.Binary("é")}, "éé"},
		{"~p", []ei.Term{ei.List{ei.Int('п'), ei.Int('р')}}, `"пр"`},
		{"~p", []ei.Term{ei.Pid{Node: "x@y", ID: 1, Serial: 2, Creation: 3}}, "#Pid<x@y.1.2.3>"},
		{"~p", []ei.Term{ei.Record{Module: "m", Name: "r"}}, "#m:r{}"},
		{"~9..0b", []ei.Term{ei.Int(5)}, "000000005"},
	} {
		got, err := format(ei.Binary(tt.format), ei.List(tt.args))
		require.NoError(t, err, tt.format)
		require.Equal(t, tt.want, got)
	}
	got, err := format(ei.Binary("~p"), ei.List{deep})
	require.NoError(t, err)
	require.Less(t, len(got), 2*maxDepth+10)

	for _, greedy := range []string{
		"~1000000000n", "~1048577s", strings.Repeat("~1000000s", 10), strings.Repeat("~1000000n", 10), strings.Repeat("~.1000f", 10_000),
		"~.99999999f", "~1048000c~1048000c", "~1000000..*s",
	} {
		args := ei.List{}
		for range strings.Count(greedy, "~") - strings.Count(greedy, "n") {
			if arg := ei.Term(ei.Float(1)); strings.HasSuffix(greedy, "f") {
				args = append(args, arg)
			} else if strings.HasSuffix(greedy, "c") {
				args = append(args, ei.Int('x'))
			} else {
				args = append(args, ei.Atom("x"))
			}
		}
		_, err := format(ei.Binary(greedy), args)
		require.Error(t, err, greedy)
	}
}

func FuzzFormat(f *testing.F) {
	for _, format := range []string{"~p ~s~n", "~10.5._s", "~*.*.*w", "~-5b|~.16#", "~P", "~g~e~f", "~K~tlp"} {
		for _, args := range []string{"[]", "[5, -5, \"text\", <<1>>, 1.0e300, {a, #{b => [c|d]}}]"} {
			f.Add(format, args)
		}
	}
	f.Fuzz(func(t *testing.T, f, list string) {
		args, err := ei.Parse(list)
		if err != nil {
			return
		}
		if text, err := format(ei.Binary(f), args); err == nil && len(text) > 2*maxPadding+100*(len(f)+len(list)) {
			t.Fatalf("%d bytes", len(text))
		}
	})
}
