package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/spf13/cobra"
)

const (
	// defaultName is that of serve without --name.
	defaultName = "cnode"
	// shutdownLimit bounds the end of serve: what runs then is cut off.
	shutdownLimit = 5 * time.Second
)

func newServe(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run a node that Erlang nodes can ping, call, message, monitor and link",
		Args:  args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

// serve runs a node until ctx ends.
func serve(ctx context.Context, o *options, out, errOut io.Writer) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	name, err := o.fullName(defaultName)
	if err != nil {
		return err
	}
	cfg, release, err := o.serveConfig(ctx, name, o.logger(errOut))
	if err != nil {
		return err
	}
	defer release()
	n, err := nodes.New(cfg)
	if err != nil {
		return err
	}
	expose(n)
	if err := n.Start(ctx); err != nil {
		return err
	}
	p, err := startPeer(n)
	if err != nil {
		return errors.Join(err, n.Close())
	}
	fmt.Fprintf(out, "ready %s %s\n", n.Name(), place(n.Listeners()[0].Addr()))
	<-ctx.Done()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	err = n.Shutdown(limit)
	p.wait()
	if errors.Is(err, context.DeadlineExceeded) {
		fmt.Fprintf(errOut, "serve: cut off what was still running after %v\n", shutdownLimit)
		err = nil
	}
	return err
}

// place is how "ready" names an address: the port alone, or the path.
func place(a transport.Addr) string {
	if u, ok := a.(transport.UnixAddr); ok {
		return u.Path()
	}
	at, err := transport.AddrPort(a)
	if err != nil {
		return a.String()
	}
	return fmt.Sprint(at.Port())
}

// expose makes the functions of serve callable: cnode:echo/1 and cnode:pid/0.
func expose(n *nodes.Node) {
	n.Expose("cnode", "echo", func(_ context.Context, args []ei.Term) (any, error) {
		if len(args) != 1 {
			return nil, undef("echo", args)
		}
		return args[0], nil
	})
	n.Expose("cnode", "pid", func(_ context.Context, args []ei.Term) (any, error) {
		if len(args) != 0 {
			return nil, undef("pid", args)
		}
		return os.Getpid(), nil
	})
}

// undef is what Erlang raises for a function with another number of arguments.
func undef(name string, args []ei.Term) error {
	return &nodes.Raise{
		Class: nodes.ClassError, Reason: ei.Atom("undef"),
		Stack: ei.List{ei.Tuple{ei.Atom("cnode"), ei.Atom(name), ei.List(args), ei.List{}}},
	}
}
