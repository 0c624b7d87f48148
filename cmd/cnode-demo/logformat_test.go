package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// With --log-format json all that serve has to say while it runs is JSON, a line each, of the log
// and beside it, and says which node it is about.
func TestLogIsJSON(t *testing.T) {
	w := newHome(t, 0)
	// others do not reach this name here, which serve says whatever the level
	for _, level := range []string{"debug", "off"} {
		s := w.serve("serve", "--name", "json@nowhere.invalid", "--log-format", "json", "--log-level", level)
		text := s.terminate(syscall.SIGTERM)
		require.NotEmpty(t, text)
		logged := 0
		for line := range strings.Lines(text) {
			var said struct{ Time, Level, Msg, Node string }
			require.NoError(t, json.Unmarshal([]byte(line), &said), line)
			require.NotEmpty(t, said.Time+said.Level+said.Msg)
			if said.Node != "" {
				require.Equal(t, "json@nowhere.invalid", said.Node)
				logged++
			}
		}
		require.Equal(t, level == "debug", logged > 0)
	}
	r := w.run("serve", "--log-format", "yaml")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.err, `--log-format "yaml": want text or json`)
}
