package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/child"
	"github.com/cnode-go/cnode/nodes/discovery"
	"github.com/cnode-go/cnode/nodes/health"
	"github.com/cnode-go/cnode/nodes/upgrade"
)

const version = 1

func main() {
	probe := flag.String("probe", "", "IP:PORT where HTTP tells whether the node is ready")
	flag.Parse()
	if err := run(context.Background(), *probe); err != nil {
		slog.Error("the program ends", "error", err)
		os.Exit(child.Status(err))
	}
}

func run(ctx context.Context, probe string) error {
	u := &upgrade.Upgrader{Config: nodes.Config{Setup: setup}}
	ctx, err := child.Configure(ctx, u) // the name and the cookie come from the environment
	if err != nil {
		return err
	}
	n, err := u.Start(ctx)
	if err != nil {
		return err
	}
	discovery.KeepConnected(n, discovery.EPMD{}, nil)
	if probe != "" {
		at, err := u.Listen("tcp", probe) // goes on with the node
		if err != nil {
			return err
		}
		go http.Serve(at, http.StripPrefix("/health", health.Handler(n)))
	}
	fmt.Println("ready", n.Name(), "version", version)
	return u.Run(ctx)
}
