package ask

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/spf13/cobra"
)

func Names(o *config.Options) *cobra.Command {
	var limit time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "names [HOST]",
		Short: "List the nodes that a port mapper knows: epmd -names",
		Long: `Print the nodes that are registered at the port mapper of HOST, or of this machine, in the format of epmd -names. The port is that
of --epmd HOST:PORT, of ERL_EPMD_PORT, or 4369. Exit 1 if no port mapper answers.`,
		Example: `  cnode-demo names
  cnode-demo names broker.example.org
  cnode-demo names --epmd 127.0.0.1:5000`,
		Args: cli.Args("[HOST]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit <= 0 {
				return cli.Usagef("--timeout %v: want a time to wait", limit)
			}
			return names(cmd.Context(), o, append(args, "")[0], limit, asJSON, cmd.OutOrStdout())
		},
	}
	cmd.Flags().DurationVar(&limit, "timeout", epmd.DefaultTimeout, "how long to wait")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print them as JSON")
	return cmd
}

func names(ctx context.Context, o *config.Options, host string, limit time.Duration, asJSON bool, out io.Writer) error {
	if err := o.Check(); err != nil {
		return err
	}
	client := &epmd.Client{Timeout: limit}
	switch o.Epmd {
	case "auto":
	case "embedded":
		return cli.Usagef("--epmd embedded is for serve: a new port mapper knows no node")
	default:
		if err := config.CheckMapperAddr(o.Epmd); err != nil {
			return err
		}
		client.Addr = o.Epmd
	}
	port, names, err := client.Names(ctx, host)
	if err != nil {
		return err
	}
	if asJSON {
		type name struct {
			Name string `json:"name"`
			Port uint16 `json:"port"`
		}
		list := []name{}
		for _, n := range names {
			list = append(list, name{n.Name, n.Port})
		}
		return json.NewEncoder(out).Encode(map[string]any{"port": port, "names": list})
	}
	fmt.Fprintf(out, "epmd: up and running on port %d with data:\n", port)
	for _, n := range names {
		fmt.Fprintf(out, "name %s at port %d\n", plain(n.Name), n.Port)
	}
	return nil
}

// plain gives a name as it is, or quoted if it is not printable: otherwise a registered name could
// send control characters to the terminal.
func plain(name string) string {
	if quoted := strconv.QuoteToGraphic(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}
