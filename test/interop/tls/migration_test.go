package tls

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/test/otp"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// A cluster on its way from TCP to TLS: one node of ours listens on both at once. Nodes over TCP find it by the port mapper, those over TLS at a
// fixed port; and it connects to nodes of either kind.
func TestMigration(t *testing.T) {
	each(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		path := a.mutual(t, a.sign(t, want{}))
		overTLS := fromFile(t, path, tlstransport.Options{})
		port := r.Epmd(t)
		old := r.Start(t, otp.Options{EpmdPort: port})
		modern := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: path})
		n := startNode(t, port, transport.TCP(), func(cfg *nodes.Config) {
			cfg.Resolver = some{cfg.Resolver.(*nodes.PortMapper), map[string]transport.Transport{modern.Name(): overTLS}}
		})
		at, err := transport.ParseAddr("127.0.0.1:0")
		require.NoError(t, err)
		l, err := n.ListenOn(background(t), overTLS, at)
		require.NoError(t, err)
		accepted := make(chan error, 1)
		go func() {
			for {
				_, err := l.Accept(context.Background())
				if accepted <- err; err != nil {
					return
				}
			}
		}()
		require.Equal(t, "pong", old.Eval(t, "net_adm:ping('"+n.Name()+"')"))
		_, err = n.RPC(background(t), modern.Name(), "erlang", "node")
		require.NoError(t, err)
		fixed, err := transport.Port(l.Addr())
		require.NoError(t, err)
		other := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: path, Hidden: true,
			ExtraArgs: []string{"-dist_listen", "false", "-erl_epmd_port", fmt.Sprint(fixed)}})
		require.Equal(t, "pong", other.Eval(t, "net_adm:ping('"+n.Name()+"')"))
		require.NoError(t, <-accepted)
		require.ElementsMatch(t, []string{old.Name(), modern.Name(), other.Name()}, n.Peers())
		require.NoError(t, l.Close())
		require.Error(t, <-accepted)
	})
}

// some connects to some nodes over another transport.
type some struct {
	*nodes.PortMapper
	over map[string]transport.Transport
}

func (s some) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	at, err := s.PortMapper.Resolve(ctx, node)
	at.Transport = s.over[node]
	return at, err
}
