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
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/upgrade"
)

func main() {
	name := flag.String("name", "board@127.0.0.1", "name of this node")
	cookie := flag.String("cookie", "secret", "cookie of the cluster")
	upstream := flag.String("upstream", "", "a node to stay connected to")
	flag.Parse()

	b, link := newBoard(), &upstreamLink{node: *upstream}
	u := upgrade.Upgrader{Config: nodes.Config{
		Name: *name, Cookie: *cookie, Resolver: &nodes.PortMapper{Embed: true}, Logger: slog.Default(), Setup: b.setup,
		Handover: func(context.Context) ([]byte, error) {
			link.stop() // it starts again in the new process,
			return b.state()
		},
		Thawed: link.start, // or here, if the new process does not take over
	}}
	ctx := context.Background()
	n, err := u.Start(ctx)
	if err != nil {
		log.Fatal(err)
	}
	link.n = n
	link.start()
	fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
	slog.Info("serving", "process", os.Getpid())
	if err := u.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
