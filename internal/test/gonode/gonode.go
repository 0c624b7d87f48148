// Package gonode is for tests with nodes of Go in processes of their own, which are the test's
// binary again.
package gonode

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/workers"
	"github.com/cnode-go/cnode/transport"
)

// Main is for TestMain: it runs the tests; where the environment has the variable, it runs a
// program in their place, which is told the value.
func Main(m leak.Tests, variable string, program func(value string) error) {
	value, ok := os.LookupEnv(variable)
	if !ok {
		os.Exit(leak.Run(m))
	}
	if err := program(value); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Serve runs a node until SIGTERM, as a program that otp.Serve starts: the front of so many
// workers, or a node of one process if there are to be none. SIGUSR1 has a front replace the
// processes of its workers. In each of these joined is called, if it is not nil.
func Serve(cfg workers.Config, joined func(ctx context.Context, w *workers.Worker)) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if workers.IsWorker() {
		w, err := workers.Join(ctx, cfg.Node)
		if err != nil {
			return err
		}
		if joined != nil {
			joined(ctx, w)
		}
		return w.Wait(ctx)
	}
	if cfg.Workers == 0 {
		n, err := nodes.New(cfg.Node)
		if err != nil {
			return err
		}
		if err := n.Start(ctx); err != nil {
			return err
		}
		ready(n.Name(), n.Listeners()[0].Addr())
		<-ctx.Done()
		return n.Shutdown(context.Background())
	}
	f, err := workers.Start(ctx, cfg)
	if err != nil {
		return err
	}
	upgrades := make(chan os.Signal, 1)
	notifyUpgrades(upgrades)
	ready(f.Name(), f.Addr())
	for {
		select {
		case <-upgrades:
			if _, err := f.UpgradeWorkers(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, "upgrade:", err)
			}
		case <-ctx.Done():
			return f.Shutdown(context.Background())
		}
	}
}

func ready(name string, a transport.Addr) {
	at, _ := transport.AddrPort(a)
	fmt.Printf("ready %s %d\n", name, at.Port())
}
