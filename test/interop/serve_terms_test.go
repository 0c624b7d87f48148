package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/cnode-go/cnode/test/otp"
	"github.com/stretchr/testify/require"
)

// load loads a module of testdata into a node.
func load(t *testing.T, n *otp.Node, module string) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", module+".erl"))
	require.NoError(t, err)
	n.Load(t, string(source))
}

// Every term comes back as it was, in each of the ways in which a node can be asked.
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
	})
}

// Native records come back where both sides know them.
func TestServeRecords(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		if r.Number < 29 {
			t.Skip("native records are of OTP 29 and later")
		}
		p := newPair(t, r)
		load(t, p.erl, "terms")
		load(t, p.erl, "records")
		require.Equal(t, "{5,[]}", p.eval(t, `terms:check(N, records:all())`))
	})
}
