package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/child"
	"github.com/cnode-go/cnode/nodes/discovery"
	"github.com/cnode-go/cnode/nodes/upgrade"
)

func main() {
	if err := run(context.Background()); err != nil {
		slog.Error("the program ends", "error", err)
		os.Exit(child.Status(err))
	}
}

func run(ctx context.Context) error {
	u := &upgrade.Upgrader{Config: nodes.Config{Setup: setup}}
	ctx, err := child.Configure(ctx, u) // the name, the cookie and the end come from the parent
	if err != nil {
		return err
	}
	n, err := u.Start(ctx)
	if err != nil {
		return err
	}
	discovery.KeepConnected(n, discovery.EPMD{}, nil)
	fmt.Println("ready", n.Name())
	return u.Run(ctx)
}
