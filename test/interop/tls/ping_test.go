package tls

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// Both sides connect, with certificates that both verify, and messages of all sizes come back as
// they went.
func TestPing(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		ours, theirs := a.sign(t, want{}), a.sign(t, want{})
		for _, v := range versions {
			t.Run(v.name, func(t *testing.T) {
				erl := r.Start(t, otp.Options{TLSOptFile: a.mutual(t, theirs, v.option)})
				for _, connect := range []string{"they connect", "we connect"} {
					t.Run(connect, func(t *testing.T) {
						n := startNode(t, erl.EpmdPort(), plug(t, a.mutualConfig(ours, v.number)))
						if connect == "they connect" {
							require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
						}
						got, err := n.RPC(background(t), erl.Name(), "lists", "seq", 1, 5)
						require.NoError(t, err)
						require.Equal(t, "[1,2,3,4,5]", got.String())
						require.Equal(t, "pong", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
						for _, size := range []int{0, 100, 16_384, 16_385, 5_000_000} {
							b := ei.Binary(make([]byte, size))
							got, err := n.RPC(background(t), erl.Name(), "binary", "copy", b)
							require.NoError(t, err)
							require.True(t, ei.Identical(b, got), size)
						}
					})
				}
			})
		}
	})
}
