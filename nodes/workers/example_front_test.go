package workers_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/workers"
)

// A program whose node is served by four processes besides the one that was started. Each call is
// answered by the worker that has the caller's connection.
func ExampleStart() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	cfg := nodes.Config{
		Name: "go@127.0.0.1",
		Setup: func(n *nodes.Node) error { // in each worker
			n.Expose("math", "add", nodes.FuncOf(func(a, b int) int { return a + b }))
			return nil
		},
	}
	if workers.IsWorker() { // the front has started this process
		w, err := workers.Join(ctx, cfg)
		if err != nil {
			log.Fatal(err)
		}
		// after an upgrade: what the process before has registered later than in Setup
		for _, b := range w.Mailboxes() {
			if err := b.Close(); err != nil { // nobody here goes on with it
				log.Print(err)
			}
		}
		if err := w.Wait(context.Background()); err != nil {
			log.Fatal(err)
		}
		return
	}
	f, err := workers.Start(ctx, workers.Config{Node: cfg, Workers: 4, Choose: workers.BySessions})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.Name(), "listens at", f.Addr())
	<-ctx.Done()
	if err := f.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
