package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
	"github.com/spf13/cobra"
)

func newEpmd(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "epmd",
		Short: "Run a port mapper in the foreground, in place of Erlang's epmd",
		Long: `Run a port mapper until SIGTERM, SIGINT, SIGHUP or "epmd -kill", and print "ready epmd PORT" once it can be reached. It
listens on the loopback addresses and on those of ERL_EPMD_ADDRESS, on ERL_EPMD_PORT or 4369; with --listen IP:PORT, or
--epmd IP:PORT, on that address only.
ERL_EPMD_RELAXED_COMMAND_CHECK, when set, allows "epmd -stop", and "epmd -kill" while nodes are registered.`,
		Example: `  cnode-demo epmd
  cnode-demo epmd --listen 127.0.0.1:0
  ERL_EPMD_ADDRESS=0.0.0.0 cnode-demo epmd --log-level info`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.logsWarnings()
			return runMapper(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

func runMapper(ctx context.Context, o *options, out, errOut io.Writer) error {
	addrs, err := o.mapperAddrs()
	if err != nil {
		return err
	}
	survivePipe()
	_, relaxed := os.LookupEnv("ERL_EPMD_RELAXED_COMMAND_CHECK")
	m, err := startMapper(ctx, &epmd.Server{Relaxed: relaxed, Logger: o.logger(errOut)}, addrs...)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(m.addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "ready epmd %s\n", port)
	defer context.AfterFunc(ctx, m.stop)()
	return m.wait()
}

// mapperAddrs are the addresses that a port mapper of our own is to listen on.
func (o *options) mapperAddrs() ([]string, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	addr := o.listen
	if addr == "" && o.epmd != "auto" && o.epmd != "embedded" {
		addr = o.epmd
	}
	if addr == "" {
		return epmd.ListenAddrs(os.Getenv)
	}
	a, err := transport.ParseAddr(addr)
	if err == nil {
		_, err = transport.AddrPort(a)
	}
	if err != nil {
		return nil, &usageError{fmt.Errorf("a port mapper listens on IP:PORT: %w", err)}
	}
	return []string{a.String()}, nil
}
