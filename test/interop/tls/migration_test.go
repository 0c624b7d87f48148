package tls

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// A cluster migrates from TCP to TLS: a single node of ours listens over both at once. Nodes over
// TCP find it by the port mapper, nodes over TLS at a fixed port; and it connects to nodes of
// either kind. It is connected to all of them at once.
func TestMigration(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		path := a.mutual(t, a.sign(t, want{}))
		overTLS := fromFile(t, path, tlstransport.Options{})
		port := r.Epmd(t)
		old := r.Start(t, otp.Options{EpmdPort: port})
		modern := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: path})
		at, err := transport.ParseAddr("127.0.0.1:0")
		require.NoError(t, err)
		n := startNode(t, port, transport.TCP(), func(cfg *nodes.Config) {
			cfg.Also = []nodes.Endpoint{{Addr: at, Transport: overTLS}}
			cfg.Resolver = some{cfg.Resolver.(*nodes.PortMapper), map[string]transport.Transport{modern.Name(): overTLS}}
		})
		require.Len(t, n.Listeners(), 2)
		fixed, err := transport.Port(n.Listeners()[1].Addr())
		require.NoError(t, err)
		require.Equal(t, "pong", old.Eval(t, "net_adm:ping('"+n.Name()+"')"))
		_, err = n.RPC(background(t), modern.Name(), "erlang", "node")
		require.NoError(t, err)
		other := startAt(t, r, port, path, int(fixed))
		require.Equal(t, "pong", other.Eval(t, "net_adm:ping('"+n.Name()+"')"))
		require.ElementsMatch(t, []string{old.Name(), modern.Name(), other.Name()}, n.Peers())
	})
}

// startAt starts a node over TLS that looks for others at a fixed port.
func startAt(t *testing.T, r otp.Release, epmd int, path string, fixed int) *otp.Node {
	t.Helper()
	return r.Start(t, otp.Options{EpmdPort: epmd, TLSOptFile: path, Hidden: true,
		ExtraArgs: []string{"-dist_listen", "false", "-erl_epmd_port", fmt.Sprint(fixed)}})
}

// some is a resolver that finds some nodes over another transport.
type some struct {
	*nodes.PortMapper
	over map[string]transport.Transport
}

func (s some) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	at, err := s.PortMapper.Resolve(ctx, node)
	at.Transport = s.over[node]
	return at, err
}
