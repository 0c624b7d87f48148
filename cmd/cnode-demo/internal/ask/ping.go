package ask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/spf13/cobra"
)

func Ping(o *config.Options) *cobra.Command {
	var limit time.Duration
	var between config.Virtual
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "ping NODE",
		Short: "Ask a node whether it is there: net_adm:ping",
		Long: `Connect to NODE, ask it what net_adm:ping asks, and print "pong" (exit 0), or "pang" (exit 1) with the reason on the standard
error. NODE without "@" is on this machine.`,
		Example: `  cnode-demo ping cnode@127.0.0.1
  cnode-demo ping rabbit@broker --cookie secret
  cnode-demo ping a@127.0.0.1 --transport unix --listen unix:/run/nodes/
  cnode-demo ping a@127.0.0.1 --transport tls --tls-optfile /tmp/tls/ssl_dist.conf`,
		Args: cli.Args("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit <= 0 {
				return cli.Usagef("--timeout %v: want a time to wait", limit)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), limit)
			defer cancel()
			return ping(ctx, o, &between, args[0], asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	between.AddTo(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer as JSON")
	cmd.Flags().DurationVar(&limit, "timeout", 10*time.Second, "how long to wait")
	return cmd
}

func ping(ctx context.Context, o *config.Options, between *config.Virtual, target string, asJSON bool, out, errOut io.Writer) (err error) {
	if target, err = o.CheckTarget(target); err != nil {
		return err
	}
	n, c, end, err := o.Dial(ctx, between, target, errOut)
	if err == nil {
		defer func() { err = errors.Join(err, end()) }()
		err = IsAuth(ctx, n, c.Name())
	}
	var usage *cli.UsageError
	switch {
	case errors.As(err, &usage):
	case asJSON:
		answer := map[string]any{"node": target, "pong": err == nil}
		if err != nil {
			answer["error"] = err.Error()
		}
		err = errors.Join(err, json.NewEncoder(out).Encode(answer))
	case err != nil:
		fmt.Fprintln(out, "pang")
	default:
		fmt.Fprintln(out, "pong")
	}
	return err
}

// IsAuth makes the call {is_auth, Node} of net_kernel, with which net_adm:ping finds out that a
// node does not only listen.
func IsAuth(ctx context.Context, n *nodes.Node, peer string) error {
	answer, err := n.CallName(ctx, peer, "net_kernel", ei.Tuple{ei.Atom("is_auth"), ei.Atom(n.Name())})
	if err != nil {
		return fmt.Errorf("connected, but no answer of its net_kernel: %w", err)
	}
	if answer != ei.Atom("yes") {
		return fmt.Errorf("its net_kernel answered %v, not yes", answer)
	}
	return nil
}
