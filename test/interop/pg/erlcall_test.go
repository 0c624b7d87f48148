package pg

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/nodes/pubsub"
)

// erl_call of OTP ends when it gets a message that is not the answer which it waits for: a node
// that takes part in groups, topics, presence and global names sends it none.
func TestErlCall(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		for name, tt := range map[string]struct {
			visible bool
			setUp   func(ctx context.Context, n *nodes.Node) error
		}{
			"pg": {false, func(ctx context.Context, n *nodes.Node) error {
				_, err := pg.Start(ctx, n, "", nil)
				return err
			}},
			"pubsub": {false, presence},
			"all": {true, func(ctx context.Context, n *nodes.Node) error {
				if _, err := pg.Start(ctx, n, "", nil); err != nil {
					return err
				}
				if _, err := global.Start(ctx, n, nil); err != nil {
					return err
				}
				return presence(ctx, n)
			}},
		} {
			t.Run(name, func(t *testing.T) {
				port := r.Epmd(t)
				cfg := goConfig(t, port, tt.visible)
				cfg.Setup = func(n *nodes.Node) error {
					n.Expose("shop", "price", nodes.FuncOf(func() int { return 20 }))
					return tt.setUp(t.Context(), n)
				}
				n := gonode.Start(t, cfg)
				for i := range 30 {
					// as relx does, which asks for a name, and under a name of its own
					args := []string{"-R"}
					if i%2 == 1 {
						args = []string{"-h", "c" + strconv.Itoa(i)}
					}
					cmd := exec.Command(r.Command("erl_call"), append(args, "-name", n.Name(), "-c", otp.DefaultCookie, "-timeout", "30",
						"-a", "shop price []")...)
					cmd.Env = append(os.Environ(), "ERL_EPMD_PORT="+strconv.Itoa(port), "HOME="+t.TempDir())
					out, err := cmd.CombinedOutput()
					require.NoError(t, err, "%d: %s", i, out)
					require.Equal(t, "20", strings.TrimSpace(string(out)))
				}
			})
		}
	})
}

// presence is PubSub with a Presence that tracks a process.
func presence(ctx context.Context, n *nodes.Node) error {
	ps, err := pubsub.Start(ctx, n, "App.PubSub", nil)
	if err != nil {
		return err
	}
	p, err := ps.StartPresence(ctx, "App.Presence", &pubsub.PresenceOptions{BroadcastPeriod: limit / 3000})
	if err != nil {
		return err
	}
	b, err := n.NewMailbox(nil)
	if err != nil {
		return err
	}
	return p.Track(ctx, b, "topic", "joe", ei.Map{})
}
