package gate

import (
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/transport"
)

// Whatever a file has, it is read or refused; each element of a list or tuple has its place.
func FuzzConfig(f *testing.F) {
	example, err := os.ReadFile("cmd/cnode-gate/gate.config")
	require.NoError(f, err)
	for _, text := range []string{
		string(example), "[{$\\\\, $,}, <<1,2>>, #{a => [b]}, \"a\\\"\" \"b\", '}', 16#F, #Pid<a@b.1.2.3>]. % {", "[a|b].",
	} {
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

// All addresses of a host's network share the places that one host has.
func TestPlacesByHost(t *testing.T) {
	g := &Gate{limits: Limits{Sessions: 12}, from: map[netip.Prefix]int{}}
	comes := func(from string) (func(), error) {
		at, err := transport.ParseAddr(from)
		require.NoError(t, err)
		return g.begin(at)
	}
	for _, hosts := range [][]string{
		{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::ffff:0:0:1]:7", "[2001:db8::3]:1"},
		{"10.0.0.1:1", "[::ffff:10.0.0.1]:1", "10.0.0.1:2", "10.0.0.1:3"},
	} {
		var done func()
		for _, from := range hosts[:3] {
			var err error
			done, err = comes(from)
			require.NoError(t, err, from)
		}
		_, err := comes(hosts[3])
		require.ErrorContains(t, err, "too many handshakes")
		done()
		_, err = comes(hosts[3])
		require.NoError(t, err, "one has ended")
	}
	_, err := comes("[2001:db8:0:1::1]:1")
	require.NoError(t, err, "another network")
}
