package tlstransport

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseTerm(t *testing.T) {
	for _, tt := range []struct{ in, out string }{
		{"[]", "[]"}, {" [ a , 'B c' , \"s\" ] . ", `[a,B c,"s"]`}, {"{server,[{depth,2}]}.", "{server,[{depth,2}]}"},
		{"% a comment\n{a,% another\n'tlsv1.3'}", "{a,tlsv1.3}"}, {`"a\"b\\\n\x41\x{42}\103"`, `"a\"b\\\nABC"`}, {`"a" "b"` + "\n" + `"c"`,
			`"abc"`},
		{`<<"bin">>`, `<<"bin">>`}, {`<<"é"/utf8>>`, `<<"é">>`}, {`<<97,98>>`, `<<"ab">>`}, {"<<>>", `<<"">>`}, {"-12", "-12"}, {"16#fF", "255"},
		{"388_736", "388736"}, {"-16#ff", "-255"}, {"+16#f_f", "255"}, {"2#11", "3"}, {"36#z", "35"}, {`""`, `""`},
		{`"\^A\^z\^[\^@\^\\\"`, `"\x01\x1a\x1b\x00\x1c\\"`},
		{"fun inet_tls_dist:verify_client/3", "fun inet_tls_dist:verify_client/3"}, {"#{a => 1, b => \"x\"}",
			"#{…}"}, {"#{}", "#{…}"},
	} {
		got, err := parseTerm(tt.in)
		require.NoError(t, err, tt.in)
		require.Equal(t, tt.out, show(got), tt.in)
	}
	for _, tt := range []struct{ in, err string }{
		{"", "line 1: a term is missing"}, {"[a", "line 1"}, {"[a,\n\nb c]", `line 3: "c]"`}, {`"abc`,
			`line 1: " is not closed`}, {"os:getenv(\"X\")", "line 1: os:getenv"},
		{"[{certfile,\nfilename:join(a,b)}]", "line 2: filename:join"}, {"Var", `"Var" is a variable`}, {"fun(X) -> X end",
			"fun Module:Name/Arity"},
		{"begin a end", `after the end of the term`}, {"[a|b]", "literals"}, {"1.5", "not an integer"}, {"a. b.",
			"after the end"}, {strings.Repeat("[", 100), "deeper"},
		{`<<"x":8>>`, "expected"}, {"<<255,256>>", "256 is not a byte"}, {"<<-1>>", "-1 is not a byte"}, {`<<"Ā">>`, "needs /utf8"},
		{"\"\xff\"", "UTF-8"}, {`"\x{110000}"`, "not a character"}, {`"\x{d800}"`, "not a character"}, {"fun a:b/",
			"a number is missing"}, {"99999999999999999999", "not an integer"}, {"-", "not an integer"},
		{"1__0", "not an integer"}, {"16#_f", "not an integer"}, {"16_#f", "not an integer"}, {"1#0", "not a number"}, {"37#0", "not a number"}, {`"\x4`, "two digits are missing"}, {"1_", "not an integer"},
		{`"\^?"`, "no control character"}, {`"\^1"`, "no control character"}, {`"\^`, "no control character"},
		{`"\1`, `line 1: " is not closed`}, {"\"a\nb", `line 1: " is not closed`}, {"[\"a\nb\",\nb c]", `line 3: "c]"`},
		{"\"\"\"\nabc\n\"\"\"", "triple-quoted"}, {`"a" """b"`, "triple-quoted"},
	} {
		_, err := parseTerm(tt.in)
		require.ErrorContains(t, err, tt.err, tt.in)
	}
}
