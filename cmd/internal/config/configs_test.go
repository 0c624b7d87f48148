package config

import (
	"context"
	"testing"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// A long --timeout applies to the handshake, too, which must not end earlier.
func TestHandshakeTime(t *testing.T) {
	within := func(d time.Duration) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		t.Cleanup(cancel)
		return ctx
	}
	require.Equal(t, nodes.DefaultHandshakeTimeout, handshakeTime(t.Context()))
	require.Equal(t, nodes.DefaultHandshakeTimeout, handshakeTime(within(time.Second)))
	require.Greater(t, handshakeTime(within(time.Hour)), 59*time.Minute)
}

// A port mapper that does not answer is waited for as long as the command says, and no less.
func TestClientWaitsForMapper(t *testing.T) {
	for _, at := range []string{"auto", "127.0.0.1:1"} {
		r, err := (&Options{Epmd: at}).clientMapper()
		require.NoError(t, err)
		switch r := r.(type) {
		case *nodes.PortMapper:
			require.Negative(t, r.Client.Timeout)
		case *fixedMapper:
			require.Negative(t, r.Client.Timeout)
			require.Equal(t, at, r.Client.Addr)
		}
	}
}

// A name without a host gets a long or a short one, as the node that it is to be used with has.
func TestNameGetsHostLikeOwnNode(t *testing.T) {
	short, err := ShortHost()
	require.NoError(t, err)
	for _, c := range []struct{ target, hostname, want string }{
		{"a@box", "box.example.org", short},
		{"a@::1", "box.example.org", "box.example.org"},
		{"a@127.0.0.1", "box.example.org", "box.example.org"},
		{"a@far.example.org", "box", "box.localdomain"},
	} {
		host, err := hostBeside(c.target, func() (string, error) { return c.hostname, nil })()
		require.NoError(t, err)
		require.Equal(t, c.want, host, "%s from %s", c.target, c.hostname)
	}
}

func TestPollingOverTLS(t *testing.T) {
	require.Zero(t, (&Polling{}).OverTLS(), "a command without the flag leaves it to the default")
	require.Negative(t, (&Polling{asked: true}).OverTLS())
	require.Equal(t, time.Millisecond, (&Polling{asked: true, limit: time.Millisecond}).OverTLS())
}

// The flag reaches the transport, whatever that is; its default leaves the configuration alone.
func TestPollingOver(t *testing.T) {
	unix := transport.Unix()
	cfg := nodes.Config{Transport: unix, Resolver: nodes.SocketDir("d")}
	(&Polling{limit: transport.DefaultPolling}).Over(&cfg)
	require.Equal(t, nodes.Config{Transport: unix, Resolver: nodes.SocketDir("d")}, cfg)

	(&Polling{limit: 0}).Over(&cfg)
	require.Equal(t, transport.WithPolling(unix, 0), cfg.Transport)

	cfg = nodes.Config{Transport: unix}
	(&Polling{limit: time.Millisecond}).Over(&cfg)
	require.IsType(t, unix, cfg.Transport)
	require.NotEqual(t, transport.WithPolling(unix, 0), cfg.Transport)
	require.Equal(t, transport.WithPolling(unix, time.Millisecond), transport.WithPolling(cfg.Transport, time.Millisecond))
}

// What wraps the transport of an --also address also carries the connections that another process
// hands over: no other transport of the same name takes precedence.
func TestPollingOverAlso(t *testing.T) {
	cfg := nodes.Config{Transport: transport.TCP(), Also: []nodes.Endpoint{{Transport: transport.Unix()}}}
	want := transport.WithPolling(cfg.Also[0].Transport, 0)
	(&Polling{limit: 0}).Over(&cfg)
	for _, tr := range append(cfg.Transports, cfg.Also[0].Transport) {
		require.Equal(t, want, tr)
	}
}
