// Command board is a service in an Erlang cluster: processes subscribe to a board, and whatever is
// posted goes to all of them, numbered. It keeps itself connected to a node, and on SIGHUP moves to
// a new process without other nodes noticing.
//
//	go build -o board ./examples/board
//	erl -name me@127.0.0.1 -setcookie secret
//	./board --upstream me@127.0.0.1
//
//	1> gen_server:call({board, 'board@127.0.0.1'}, {subscribe, self()}).
//	2> gen_server:cast({board, 'board@127.0.0.1'}, {post, <<"hello">>}).
//	3> flush().
//
//	kill -HUP $(pidof board)    # with a new binary, or a link to one, in its place before, or not
//	kill $(pidof board)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/nodes"
)

func main() {
	name := flag.String("name", "board@127.0.0.1", "name of this node")
	cookie := flag.String("cookie", "secret", "cookie of the cluster")
	upstream := flag.String("upstream", "", "a node to stay connected to")
	flag.Parse()

	// otherwise the process would end when nobody reads its log any more
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	upgrades := make(chan os.Signal, 1)
	signal.Notify(upgrades, syscall.SIGHUP) // before the node runs, which a signal would end
	ctx, forget := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer forget()
	b, u := newBoard(), &upstreamLink{node: *upstream}
	cfg := nodes.Config{
		Name: *name, Cookie: *cookie, Resolver: &nodes.PortMapper{Embed: true}, Logger: slog.Default(), Setup: b.setup,
		Handover: func(context.Context) ([]byte, error) {
			u.stop() // the link starts again in the new process,
			return b.state()
		},
		Thawed: u.start, // or here, if the new process does not take over
	}
	n, err := begin(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	u.n = n
	u.start()
	fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
	slog.Info("serving", "process", os.Getpid())
	if err := run(ctx, n, u, upgrades); err != nil {
		log.Fatal(err)
	}
}

// begin starts the node, or takes it over from the process that has started this one.
func begin(ctx context.Context, cfg nodes.Config) (*nodes.Node, error) {
	if isSuccessor() {
		return takeOver(ctx, cfg)
	}
	n, err := nodes.New(cfg)
	if err == nil {
		err = n.Start(ctx)
	}
	return n, err
}

// run serves until ctx, or trouble, ends it; nil, too, when another process is the node.
func run(ctx context.Context, n *nodes.Node, u *upstreamLink, upgrades <-chan os.Signal) error {
	for {
		select {
		case <-n.Done():
			return n.Err()
		case <-ctx.Done():
			u.stop()
			limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := n.Shutdown(limit); !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
			return nil // what was still running has been cut off
		case <-upgrades:
			moved, err := handOver(ctx, n)
			if err != nil {
				slog.Error("upgrade", "moved", moved, "error", err)
			}
			if moved {
				return nil
			}
		}
	}
}
