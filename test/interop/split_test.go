package interop

import (
	"bytes"
	"net"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/stretchr/testify/require"
)

// Nothing depends on how bytes are cut: the handshake and all that follows, one byte at a time,
// whoever connects.
func TestSplitStream(t *testing.T) {
	needsTCP(t, "it has a carrier of its own")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := start(t, r, otp.Options{EpmdPort: port})
		for _, name := range []string{"ours", "theirs"} {
			t.Run(name, func(t *testing.T) {
				cfg := config(port)
				cfg.Transport = wrapped(func(c net.Conn, _ bool) net.Conn { return splitting{c} })
				m := &meeting{erl: erl, n: startNode(t, cfg)}
				exposed(m.n)
				if name == "ours" {
					_, err := m.n.Connect(background(t), erl.Name())
					require.NoError(t, err)
				} else {
					m.is(t, [][2]string{{`net_kernel:connect_node(N)`, `true`}})
				}
				b := m.mailbox(t, "B", nil)
				m.is(t, [][2]string{
					{`net_adm:ping(N)`, `pong`},
					{`rpc:call(N, gofun, args, [{a, "b", [<<"c">>, 1.5]}, binary:copy(<<"d">>, 20)])`,
						`[{a,"b",[<<"c">>,1.5]},<<"dddddddddddddddddddd">>]`},
					{`[B ! {I, binary:copy(<<"x">>, I)} || I <- lists:seq(1, 200)], sent`, `sent`},
				})
				for i := range 200 {
					message, err := b.Receive(background(t))
					require.NoError(t, err)
					got, err := message.Term()
					require.NoError(t, err)
					require.Equal(t, ei.Tuple{ei.Int(i + 1), ei.Binary(bytes.Repeat([]byte("x"), i+1))}, got)
				}
			})
		}
	})
}
