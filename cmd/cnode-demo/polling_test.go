package main

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A node serves whatever its polling, on every transport and under what is put over it.
func TestServePolling(t *testing.T) {
	for _, kind := range []string{"tcp", "unix"} {
		for _, limit := range []string{"0", "60µs", "1ms"} {
			t.Run(kind+" "+limit, func(t *testing.T) {
				w := newWorld(t, 0)
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

// The flag reaches the transport, whatever that is; its default leaves the configuration alone.
func TestPollingOver(t *testing.T) {
	unix := transport.Unix()
	cfg := nodes.Config{Transport: unix, Resolver: nodes.SocketDir("d")}
	(&polling{limit: transport.DefaultPolling}).over(&cfg)
	require.Equal(t, nodes.Config{Transport: unix, Resolver: nodes.SocketDir("d")}, cfg)

	(&polling{limit: 0}).over(&cfg)
	require.Equal(t, transport.WithPolling(unix, 0), cfg.Transport)

	cfg = nodes.Config{Transport: unix}
	(&polling{limit: time.Millisecond}).over(&cfg)
	require.IsType(t, unix, cfg.Transport)
	require.NotEqual(t, transport.WithPolling(unix, 0), cfg.Transport)
	require.Equal(t, transport.WithPolling(unix, time.Millisecond), transport.WithPolling(cfg.Transport, time.Millisecond))
}

// What wraps the transport of an --also address also carries the connections that another process
// hands over: no other transport of the same name takes precedence.
func TestPollingOverAlso(t *testing.T) {
	cfg := nodes.Config{Transport: transport.TCP()}
	require.NoError(t, (&also{given: []string{"unix:/run/x"}}).over(&cfg, nil))
	want := transport.WithPolling(cfg.Also[0].Transport, 0)
	(&polling{limit: 0}).over(&cfg)
	for _, tr := range append(cfg.Transports, cfg.Also[0].Transport) {
		require.Equal(t, want, tr)
	}
}
