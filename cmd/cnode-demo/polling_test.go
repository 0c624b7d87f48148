package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A node serves whatever its polling, on every transport and under what is put over it.
func TestServePolling(t *testing.T) {
	for _, kind := range []string{"tcp", "unix"} {
		for _, limit := range []string{"0", "60µs", "1ms"} {
			t.Run(kind+" "+limit, func(t *testing.T) {
				w := newHome(t, 0)
				flags := []string{"--transport", kind}
				if kind == "unix" {
					require.NoError(t, os.Mkdir(w.home+"/s", 0o700))
					flags = append(flags, "--listen", "unix:"+w.home+"/s/")
				}
				s := w.serve("serve", append(flags, "--name", "polls@127.0.0.1", "--polling", limit, "--fault", "1")...)
				for range 2 {
					require.Equal(t, "pong\n", w.succeed(append([]string{"ping", s.name}, flags...)...))
				}
				s.terminate(syscall.SIGTERM)
			})
		}
	}
}
