package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the whole program says of a command line, and how it ends.
func TestRun(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--version"}, exitOK, "cnode-gen version "},
		{nil, exitUsage, "cnode-gen: want --from NODE or --go PACKAGE.TYPE\nsee: cnode-gen --help\n"},
		{[]string{"--form", "x"}, exitUsage, "unknown flag: --form; did you mean --from?"},
		{[]string{"--go", "./testdata/shop.Doc", "-o", "gen.go"}, exitFailed, "\n  Nothing written by hand is overwritten"},
		{[]string{"completion", "bash"}, exitOK, `[[ $cur == *@* && $COMP_WORDBREAKS == *@* ]]`},
		{[]string{"__complete", "--transport", "un"}, exitOK, "unix\n"},
	} {
		var out bytes.Buffer
		require.Equal(t, tt.code, run(tt.args, &out, &out), "%v: %s", tt.args, &out)
		require.Contains(t, out.String(), tt.says)
	}
}
