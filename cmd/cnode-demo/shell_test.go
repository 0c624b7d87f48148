package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// With --json the standard output has one object whatever happens, and the words for people are
// where they always are.
func TestErrorsAsJSON(t *testing.T) {
	w := newHome(t, 0)
	s := w.serve("serve", "--name", "served@127.0.0.1")
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"ping nobody@127.0.0.1 --json", exitFailed, "the name is not registered"},
		{"call nobody@127.0.0.1 m f --json", exitFailed, "the name is not registered"},
		{"call served@127.0.0.1 no f --json", exitFailed, "undef"},
		{"call served@127.0.0.1 no f --json --syntax elixir", exitFailed, "undef"},
		{"names --json --epmd 127.0.0.1:1", exitFailed, "no port mapper"},
		{"top nobody@127.0.0.1 --once --json", exitFailed, "the name is not registered"},
		{"top served@127.0.0.1 --once --json", exitFailed, "does not tell what it does"},
		{"ping --json", exitUsage, "NODE is missing"},
		{"call served@127.0.0.1 cnode echo [X] --json", exitUsage, "ARGS"},
		{"names --timeout 0s --json", exitUsage, "want a time to wait"},
		{"top served@127.0.0.1 --json", exitUsage, "--json is for --once"},
		{"ping --nmae x --json", exitUsage, "did you mean --name?"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			r := w.run(words(tt.args)...)
			require.Equal(t, tt.code, r.code, r.err)
			var said struct {
				Error string `json:"error"`
			}
			require.NoError(t, json.Unmarshal([]byte(r.out), &said), r.out)
			require.Contains(t, said.Error, tt.want)
			require.Contains(t, r.err, tt.want)
		})
	}
	r := w.run("ping", s.name, "--json=false", "--timeout", "0s")
	require.Empty(t, r.out)
	require.Equal(t, exitUsage, r.code)
}
