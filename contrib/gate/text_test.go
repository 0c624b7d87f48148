package gate

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
)

// Whatever a file has, it is read or refused; each element of a list or tuple has its place.
func FuzzConfig(f *testing.F) {
	example, err := os.ReadFile("cmd/cnode-gate/gate.config")
	require.NoError(f, err)
	for _, text := range []string{string(example), "[{$\\\\, $,}, <<1,2>>, #{a => [b]}, \"a\\\"\" \"b\", '}', 16#F, #Pid<a@b.1.2.3>]. % {", "[a|b]."} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseConfig(text, "none")
		v, err := parseValue(text)
		if err != nil {
			return
		}
		require.Positive(t, v.at.line)
		if tuple, ok := v.Term.(ei.Tuple); ok {
			require.Len(t, v.at.parts, len(tuple))
		}
	})
}

// A text is read back as it was, whatever a peer has put into it.
func FuzzQuote(f *testing.F) {
	for _, text := range []string{"till", `x"}, {allow, "*`, "a\nb\\", "ünï\x7f\u0085\u2028", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted := quote(s)
		require.NotContains(t, quoted, "\n")
		term, err := ei.Parse(quoted)
		require.NoError(t, err)
		got, ok := ei.Charlist(term)
		require.True(t, ok)
		require.Equal(t, string([]rune(s)), got)
	})
}
