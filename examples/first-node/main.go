// Command first-node is a node that Erlang nodes of this machine can ping and call. With the cookie
// "secret":
//
//	erl -name me@127.0.0.1 -setcookie secret
//	1> net_adm:ping('go@127.0.0.1').
//	2> rpc:call('go@127.0.0.1', go, upper, [<<"abc">>]).
//	3> gen_server:call({counter, 'go@127.0.0.1'}, next).
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

func main() {
	count := 0
	n, err := nodes.New(nodes.Config{
		Name: "go@127.0.0.1", Cookie: "secret", Resolver: &nodes.PortMapper{Embed: true}, Logger: slog.Default(),
		Setup: func(n *nodes.Node) error {
			n.Expose("go", "upper", func(_ context.Context, args []ei.Term) (any, error) {
				// a panic is an exception of the caller's
				return bytes.ToUpper(args[0].(ei.Binary)), nil
			})
			_, err := n.Serve("counter", nodes.Server{Call: func(context.Context, *nodes.Call) (any, error) {
				count++
				return count, nil
			}}, nil)
			return err
		},
	})
	if err == nil {
		err = n.Start(context.Background())
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
	<-n.Done()
}
