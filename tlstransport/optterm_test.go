package tlstransport

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

func TestParseTerm(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		{"[]", "[]"},
		{" [ a , 'B c' , \"s\" ] . ", `[a,'B c',"s"]`},
		{"{server,[{depth,2}]}.", "{server,[{depth,2}]}"},
		{"% a comment\n{a,% another\n'tlsv1.3'}", "{a,'tlsv1.3'}"},
		{`"a" "b"` + "\n" + `"c"`, `"abc"`},
		{`<<"é"/utf8>>`, `<<"é"/utf8>>`},
		{"16#fF", "255"},
		{"388_736", "388736"},
		{"fun inet_tls_dist:verify_client/3", "fun inet_tls_dist:verify_client/3"},
		{"#{a => 1, b => \"x\"}", "#{a => 1,b => \"x\"}"},
		{"[" + httpsMatchCall + ", 'public_key':x]", ""},
		{"[" + httpsMatchCall + "," + httpsMatchCall + "]", "['(https)','(https)']"},
		{"{public_key:pkix_verify_hostname_match_fun(\n\thttps\n),x}", "{'(https)',x}"},
		{"[\"" + httpsMatchCall + `", 'public_key'] % ` + httpsMatchCall, `["` + httpsMatchCall + `",public_key]`},
	} {
		got, err := parseTerm(tt.in)
		if tt.out == "" {
			require.Error(t, err, tt.in)
			continue
		}
		require.NoError(t, err, tt.in)
		require.Equal(t, tt.out, show(got), tt.in)
	}
}

// What an error shows of a term has no elements where a password may be, however deep it is.
func TestOutline(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		{"a", "a"}, {"'a b'", "a b"}, {`"s"`, `"s"`}, {`<<"b">>`, `<<"b">>`}, {"7", "7"},
		{"[]", "[]"}, {"[x]", "[…]"}, {"[x|y]", "[…]"}, {"#{x => y}", "#{…}"}, {"#m:n{x = y}", "#m:n{…}"},
		{"{}", "{}"}, {"{a}", "{a}"}, {"{a,x}", "{a,…}"}, {"{[x],x}", "{[…],…}"}, {"{{x,x},x}", "{{…},…}"},
		{strings.Repeat("{", 9999) + strings.Repeat("}", 9999), "{{…}}"},
	} {
		v, err := parseTerm(tt.in)
		require.NoError(t, err, tt.in)
		require.Equal(t, tt.out, outline(v), tt.in)
	}
	require.Equal(t, "<nil>", outline(nil))
}

// An error of the syntax says where it is and what it is.
func TestSyntaxErrors(t *testing.T) {
	const evaluated = "no literal term from here on: calls, variables"
	for _, tt := range []struct{ in, err string }{
		{"", "line 1, column 1: unexpected end"},
		{"[a", "line 1, column 3: unexpected end"},
		{"[a,\n\nb c]", "line 3, column 3: " + evaluated},
		{"[\"a\nb\",\nb c]", "line 3, column 3: " + evaluated},
		{`{a,"abc`, "line 1, column 4: no closing quote"},
		{"\"a\nb", "line 1, column 1: no closing quote"},
		{`os:getenv("X")`, "line 1, column 3: " + evaluated},
		{"[{certfile,\nfilename:join(a,b)}]", "line 2, column 9: " + evaluated},
		{"[Var]", "line 1, column 2: " + evaluated},
		{"fun(X) -> X end", "line 1, column 4: " + evaluated},
		{"a. b.", "line 1, column 4: " + evaluated},
		{`"\x{110000}"`, "line 1, column 2: bad escape"},
		{"\"\xff\"", "line 1, column 2: not UTF-8"},
		{"\"\"\"\nabc\n\"\"\"", "line 1, column 1: triple-quoted text is not read"},
		{"#{a => 1, a => 2}", "duplicate key"},
		// Behind the call that is read, positions stay right.
		{"[" + httpsMatchCall + ", X]", "line 1, column 52: " + evaluated},
		{"[public_key:\npkix_verify_hostname_match_fun(\nhttps), X]", "line 3, column 9: " + evaluated},
		{"[my_" + httpsMatchCall + "]", "line 1, column 5: " + evaluated},
		{strings.ReplaceAll(httpsMatchCall, "https", "ldap"), "line 1, column 11: " + evaluated},
		{"[" + strings.Repeat(httpsMatchCall+",", 1000) + "a]", "more than"},
	} {
		require.ErrorContains(t, expect.Err(parseTerm(tt.in)), tt.err, tt.in)
	}
}
