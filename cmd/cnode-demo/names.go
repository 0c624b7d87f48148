package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/spf13/cobra"
)

func newNames(o *options) *cobra.Command {
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "names [HOST]",
		Short: "List the nodes that a port mapper knows: epmd -names",
		Long: `Print the nodes that are registered at the port mapper of HOST, or of this machine, in the format of epmd -names. The port is that
of --epmd HOST:PORT, of ERL_EPMD_PORT, or 4369. Exit 1 if no port mapper answers.`,
		Example: `  cnode-demo names
  cnode-demo names broker.example.org
  cnode-demo names --epmd 127.0.0.1:5000`,
		Args: args("[HOST]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit <= 0 {
				return usagef("--timeout %v: want a time to wait", limit)
			}
			return names(cmd.Context(), o, append(args, "")[0], limit, cmd.OutOrStdout())
		},
	}
	cmd.Flags().DurationVar(&limit, "timeout", epmd.DefaultTimeout, "how long to wait")
	return cmd
}

func names(ctx context.Context, o *options, host string, limit time.Duration, out io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	client := &epmd.Client{Timeout: limit}
	switch o.epmd {
	case "auto":
	case "embedded":
		return usagef("--epmd embedded is for serve: a new port mapper knows no node")
	default:
		if err := checkMapperAddr(o.epmd); err != nil {
			return err
		}
		client.Addr = o.epmd
	}
	port, names, err := client.Names(ctx, host)
	if err != nil {
		return err
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

// checkMapperAddr refuses an --epmd that is no HOST:PORT.
func checkMapperAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && (host == "" || port == "") {
		err = errors.New("a part is missing")
	}
	if err == nil {
		if _, perr := strconv.ParseUint(port, 10, 16); perr != nil {
			err = fmt.Errorf("port %q is not in 0..65535", port)
		}
	}
	if err != nil {
		return usagef("--epmd %q: want auto, embedded or HOST:PORT (%w)", addr, err)
	}
	return nil
}
