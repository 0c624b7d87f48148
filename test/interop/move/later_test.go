//go:build unix

package move

import (
	"context"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
)

// Erlang's callers whose answers come later, when the node moves: one is answered by the process
// that takes over, the other one hears at once that nobody will answer.
func TestLateAnswersMove(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port})
		ctx := soon(t)
		came := make(chan *nodes.Call, 2)
		var kept, goesOn *nodes.Call
		cfg := nodes.Config{
			Name: "later" + strconv.Itoa(os.Getpid()) + "@127.0.0.1", Cookie: erl.Cookie(), Resolver: gonode.Mapper(port),
			Handover: func(context.Context) ([]byte, error) { return ei.Append(nil, kept) },
			Setup: func(n *nodes.Node) error {
				b, err := n.Serve("server", nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) {
					came <- c
					return nodes.NoReply, nil
				}}, nil)
				if from, ok := n.Inherited(); ok && err == nil {
					goesOn, err = b.CallFrom(ei.Raw(from))
				}
				return err
			},
		}
		n, err := nodes.New(cfg)
		require.NoError(t, err)
		require.NoError(t, n.Start(ctx))
		server := "{server, '" + n.Name() + "'}"
		answered := erl.Async(t, `gen_server:call(`+server+`, keep, infinity)`)
		kept = <-came
		told := erl.Async(t, `catch gen_server:call(`+server+`, forget, infinity)`)
		<-came
		defer gonode.Move(t, n, cfg).Node().Close()
		require.Regexp(t, `^\{'EXIT',\{shutdown,\{gen_server,call,`, told())
		require.NoError(t, goesOn.Reply(ctx, ei.Atom("late")))
		require.Equal(t, "late", answered())
	})
}
