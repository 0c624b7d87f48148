package gate_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
)

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), mode))
}

// The example of the command can be read, and its rules explained.
func TestExampleConfig(t *testing.T) {
	dir := t.TempDir()
	example, err := os.ReadFile("cmd/cnode-gate/gate.config")
	require.NoError(t, err)
	path := filepath.Join(dir, "gate.config")
	write(t, path, string(example), 0o644)
	write(t, filepath.Join(dir, "outside.cookie"), "one\n", 0o600)
	write(t, filepath.Join(dir, "inside.cookie"), "two\n", 0o600)
	cfg, err := gate.ReadConfig(path)
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two"}, []string{cfg.Outside.Cookie, cfg.Inside.Cookie})
	require.Equal(t, []string{"ci*@*"}, cfg.Outside.Names)
	for _, tt := range []struct {
		r    gate.Request
		want string
	}{
		{gate.Request{Peer: "ci1@build", Op: gate.MayCall, Target: "shop:quote/1", Module: "shop", Name: "quote", Arity: 1},
			"allowed: ci1@build call shop:quote/1 (rule 1)"},
		{gate.Request{Peer: "ci1@build", Op: gate.MayCall, Target: "shop:quote/2", Module: "shop", Name: "quote", Arity: 2},
			"refused: ci1@build call shop:quote/2 (no rule allows it)"},
		{gate.Request{Peer: "ci1@build", Op: gate.MayRequest, Target: "till"}, "allowed: ci1@build request till (rule 2)"},
		{gate.Request{Peer: "ci1@build", Op: gate.MaySend, Target: "till"}, "refused: ci1@build send till (no rule allows it)"},
		{gate.Request{Peer: "x@build", Op: gate.MayRequest, Target: "till"},
			"refused: x@build request till (neither names nor nodes of outside have it)"},
		{gate.Request{Peer: "ci1@build", Op: gate.MaySend, Target: "net_kernel"},
			"refused: ci1@build send net_kernel (net_kernel gets pings only)"},
		{gate.Request{Peer: "ci1@build", Op: gate.MayRequest, Target: "rex"},
			"refused: ci1@build request rex (no request of rpc: rules for call say which functions may be called)"},
	} {
		d, err := cfg.Explain(tt.r)
		require.NoError(t, err)
		require.Equal(t, tt.want, d.String())
	}
	require.Equal(t, `{allow, "ci*@*", call, "shop:quote/1"}`, string(gate.AppendRule(nil, cfg.Rules[0])))

	given := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", given)
	write(t, filepath.Join(given, "outside.cookie"), "given\n", 0o440) // the mask of an access list for one user
	cfg, err = gate.ReadConfig(path)
	require.NoError(t, err)
	require.Equal(t, []string{"given", "two"}, []string{cfg.Outside.Cookie, cfg.Inside.Cookie})

	write(t, filepath.Join(dir, "inside.cookie"), "two\n", 0o644)
	require.NoError(t, os.Chmod(filepath.Join(dir, "inside.cookie"), 0o644))
	_, err = gate.ReadConfig(path)
	require.ErrorContains(t, err, "can be read by others: chmod 600")
}
