//go:build unix

package tsocket

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// The rules of the tsocket guide, in our words and with our names, a line each, under the heading
// of the section that states them: a test for each section, and two for the section about addresses
// and sockets.

// A guideRule is one of these rules.
type guideRule struct {
	says  string
	holds func(t *testing.T)
}

func guideSection(t *testing.T, heading string, rules []guideRule) {
	for _, rule := range rules {
		t.Run(heading+"/"+rule.says, rule.holds)
	}
}

func TestGuideAddresses(t *testing.T) {
	guideSection(t, "The tsocket_address abstraction", []guideRule{
		{"an endpoint has a string for people", func(t *testing.T) {
			for _, a := range []transport.Addr{loopback(), transport.UnixAddr("/x"), transport.MemoryAddr("x"),
				transport.WithPeerName(loopback(), "n@h")} {
				require.NotEmpty(t, a.String())
			}
		}},
		{"its parts come from the getters of its kind", func(t *testing.T) {
			require.Equal(t, "127.0.0.1", expect.NoError(transport.Host(loopback())).In(t))
			require.Equal(t, "/x", expect.NoError(transport.UnixPath(transport.UnixAddr("/x"))).In(t))
		}},
		{"a copy can be changed without the original", func(t *testing.T) {
			a := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}
			c := transport.FromNetAddr(a)
			a.Port = 2
			require.Equal(t, "10.0.0.1:1", c.String())
		}},
	})
}

func TestGuideVirtualSockets(t *testing.T) {
	guideSection(t, "Virtual Sockets", []guideRule{
		{"a datagram socket may be something else underneath", func(t *testing.T) {
			m := &mailroom{gate: make(chan struct{})}
			close(m.gate)
			require.NoError(t, expect.Err(SendToQueue(soon(t), new(transport.Queue), m, []byte("x"), nil)))
			require.Equal(t, []string{"x"}, m.sent)
		}},
		{"and so may a stream", func(t *testing.T) {
			c, s := pair(t, transport.NewMemory(), transport.MemoryAddr(""))
			requireSpeak(t, c, s)
		}},
	})
}
