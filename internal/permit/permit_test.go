package permit

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "anything", true}, {"a", "a", true}, {"a", "ab", false},
		{"web*@*", "web1@host", true}, {"web*@*", "web@", true}, {"web*@*", "xweb@host", false}, {"web*@*", "web", false},
		{"*ab", "aab", true}, {"*ab*", "xaaby", true}, {"a*b*c", "abcbc", true}, {"a*b*c", "abcb", false}, {"**", "x", true},
		{"#Pid<*>", "#Pid<go@host.1.0.2>", true}, {"#Pid<*>", "shop", false}, {"[a]", "a", false}, {"a?c", "abc", false},
	} {
		require.Equal(t, tt.want, match(tt.pattern, tt.s), "%q of %q", tt.pattern, tt.s)
	}
}

// The pattern means what the regular expression with .* in place of * means.
func TestMatchIsTheRegularExpression(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*]{0,8}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab]{0,10}`).Draw(t, "s")
		re := regexp.MustCompile("^" + strings.ReplaceAll(pattern, "*", ".*") + "$")
		if match(pattern, s) != re.MatchString(s) {
			t.Fatalf("%q of %q", pattern, s)
		}
	})
}

func TestFirstMatchDecides(t *testing.T) {
	table, err := Compile([]Rule{
		{Peer: "admin@*", Allow: true},
		{Op: Call, Target: "shop:refund/*"},
		{Peer: "web*@*", Op: Call, Target: "shop:*", Allow: true},
		{Peer: "web*@*", Op: Call | Spawn, Target: "log:write/1", Allow: true},
		{Peer: "web*@*", Op: Send, Target: "shop", Allow: true},
		{Peer: "web*@*"},
		{Op: Exit, Target: "#Pid<*>"},
	})
	require.NoError(t, err)
	for _, tt := range []struct {
		peer   string
		op     Op
		target string
		want   bool
	}{
		{"admin@host", Exit, "shop", true}, {"admin@host", Exit, "#Pid<x.1.0.2>", true}, {"notadmin@host", Exit, "#Pid<x.1.0.2>", false},
		{"web1@host", Send, "shop", true}, {"web1@host", Send, "shop2", false}, {"web1@host", Link, "shop", false},
		{"web1@host", Send, "shop:quote", false}, {"web1@host", Exit, "shop", false},
		{"db@host", Send, "shop", true}, {"db@host", Exit, "shop", true}, {"db@host", Link, "#Pid<x.1.0.2>", true},
	} {
		require.Equal(t, tt.want, table.Process(tt.peer, tt.op, tt.target), "%+v", tt)
	}
	require.True(t, table.Process("web1@host", Send, "till", "shop"), "by any of its names")
	require.False(t, table.Process("web1@host", Send, "till", "box"))
	for _, tt := range []struct {
		peer         string
		op           Op
		module, name string
		arity        int
		want         bool
	}{
		{"admin@host", Call, "shop", "refund", 1, true},
		{"web1@host", Call, "shop", "quote", 2, true}, {"web1@host", Call, "shop", "refund", 2, false},
		{"web1@host", Spawn, "shop", "quote", 2, false},
		{"web1@host", Call, "log", "write", 1, true}, {"web1@host", Spawn, "log", "write", 1, true},
		{"web1@host", Call, "log", "write", 11, false}, {"web1@host", Call, "log", "write", 0, false},
		{"web1@host", Call, "shop:quote", "", 1, false}, {"web1@host", Call, "shopx", "quote", 1, false},
		{"db@host", Call, "shop", "refund", 0, false}, {"db@host", Call, "init", "stop", 0, true},
	} {
		require.Equal(t, tt.want, table.Function(tt.peer, tt.op, tt.module, tt.name, tt.arity), "%+v", tt)
	}
}

func TestNoRules(t *testing.T) {
	table, err := Compile(nil)
	require.NoError(t, err)
	require.Nil(t, table)
	require.True(t, table.Function("x@y", Call, "m", "f", 0))
	require.True(t, table.Process("x@y", Exit, "name"))
}

func TestCompileRefuses(t *testing.T) {
	for _, r := range []Rule{
		{Op: Call, Target: "shop"}, {Op: Spawn, Target: ":f"}, {Op: Call, Target: "shop:"}, {Op: Call, Target: "shop:quote/x"},
		{Op: Call | Spawn, Target: "shop:quote/256"}, {Op: 1 << 7},
	} {
		_, err := Compile([]Rule{{}, r})
		require.ErrorContains(t, err, "rule 2: ", "%+v", r)
	}
	for _, r := range []Rule{
		{Op: Call}, {Op: Call, Target: "*"}, {Op: Call, Target: "erlang://2"}, {Target: "shop"}, {Op: Call | Send, Target: "shop"},
		{Op: Call, Target: "*:stop"}, {Op: Call, Target: "shop:*/*"},
	} {
		_, err := Compile([]Rule{r})
		require.NoError(t, err, "%+v", r)
	}
	operator, err := Compile([]Rule{{Op: Call, Target: "erlang://2", Allow: true}, {}})
	require.NoError(t, err)
	require.True(t, operator.Function("x@y", Call, "erlang", "/", 2))
	require.False(t, operator.Function("x@y", Call, "erlang", "/", 3))
}
