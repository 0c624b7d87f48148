package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

// load loads a module of testdata into a node.
func load(t *testing.T, n *otp.Node, module string) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", module+".erl"))
	require.NoError(t, err)
	n.Load(t, string(source))
}

// Every term comes back as it was, in each of the ways in which a node can be asked. Native records
// do where both sides know them, and so do terms as deep as a node can make them: OTP has no limit
// but memory.
func TestServeTerms(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		p := newPair(t, r)
		load(t, p.erl, "terms")
		var n int
		var wrong string
		_, err := fmt.Sscanf(p.eval(t, `terms:check(N, terms:all())`), "{%d,%s", &n, &wrong)
		require.NoError(t, err)
		require.Greater(t, n, 60)
		require.Equal(t, "[]}", wrong)
		if r.Number >= 29 { // which has records
			load(t, p.erl, "records")
			require.Equal(t, "{5,[]}", p.eval(t, `terms:check(N, records:all())`))
		}
		wraps := map[string]string{
			"list": "[A]", "tuple": "{A}", "value": "#{k => A}", "key": "#{A => v}",
			"wide list": "[1, A, x]", "improper list": "[a | {A}]",
		}
		asks := []string{
			`rpc:call(N, cnode, echo, [T])`, `element(2, gen_server:call({peer, N}, T, infinity))`,
			`erpc:call(N, cnode, echo, [T])`, `rpc:block_call(N, cnode, echo, [T])`,
			`begin {peer, N} ! {echo, self(), T}, receive X -> X after 60000 -> none end end`,
		}
		check := func(deep, wrap, ask string) {
			made := `T = lists:foldl(fun(_, A) -> ` + wrap + ` end, [], lists:seq(1, ` + deep + `)), `
			require.Equal(t, "true", p.eval(t, made+ask+` =:= T`), "%s: %s", wrap, ask)
		}
		for name, wrap := range wraps {
			for i, ask := range asks {
				check("10000", wrap, ask)
				if i < 2 && (name == "list" || name == "tuple" || name == "value") {
					check(strconv.Itoa(need.Fewer(100_000, 1_000_000)), wrap, ask)
				}
			}
		}
	})
}
