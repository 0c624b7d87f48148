// Command service is the skeleton of a program that runs for long beside the nodes of a cluster,
// whose cookie is in ~/.erlang.cookie. On SIGTERM, or Ctrl-C, it is not to be found any more, which
// the probe says, too; it serves on for the grace, then answers the calls that it is working on,
// and ends. On SIGHUP it goes on in a new process, of the program that is there then.
//
//	service --name service@myhost --listen 0.0.0.0:0 --probe 127.0.0.1:8080   # beside nodes with -sname
//	1> rpc:call(service@myhost, service, work, [5000]).
//	2> rpc:call(service@myhost, service, release, [node()]).
//
// Below a supervisor of Elixir or Erlang, {Cnode.Node, path: "/opt/shop/service"}, it has its name
// and cookie from there, and ends with it: docs/how-to/elixir-project.md.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/child"
	"github.com/cnode-go/cnode/nodes/health"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/transport"
)

func main() {
	name := flag.String("name", cmp.Or(os.Getenv("CNODE_NODE"), "service@127.0.0.1"), "name of this node")
	listen := flag.String("listen", cmp.Or(os.Getenv("CNODE_LISTEN"), "127.0.0.1:0"), "IP:PORT where the other nodes reach it")
	probe := flag.String("probe", "", "IP:PORT where HTTP tells whether the node is ready; none by default")
	grace := flag.Duration("grace", time.Second, "for how long the node serves on after a signal")
	flag.Parse()
	at, err := transport.ParseAddr(*listen)
	if err == nil {
		err = run(context.Background(), nodes.Config{
			Name: *name, Listen: at, Resolver: &nodes.PortMapper{Embed: true},
			DrainGrace: *grace, Logger: slog.Default(), Setup: setup,
		}, *probe)
	}
	if err != nil {
		log.Print(err)
		os.Exit(child.Status(err))
	}
}

// setup registers what the other nodes find here.
func setup(n *nodes.Node) error {
	n.Expose("service", "work", nodes.FuncOf(work))
	n.Expose("service", "release", nodes.FuncOf(func(ctx context.Context, node ei.Atom) (ei.Term, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return n.RPC(ctx, string(node), "erlang", "system_info", ei.Atom("otp_release"))
	}))
	return nil
}

// work takes as many milliseconds as it is told.
func work(ctx context.Context, ms int) (ei.Atom, error) {
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return "done", nil
	case <-ctx.Done(): // the caller is gone, or Shutdown has waited long enough
		return "", ctx.Err()
	}
}

// run runs a node until ctx or a signal ends it, or on SIGHUP another process is the node.
func run(ctx context.Context, cfg nodes.Config, probe string) error {
	u := upgrade.Upgrader{Config: cfg}
	ctx, err := child.Configure(ctx, &u) // what a parent says: docs/how-to/elixir-project.md
	if err != nil {
		return err
	}
	n, err := u.Start(ctx)
	if err != nil {
		return err
	}
	defer n.Close()
	if probe != "" {
		at, err := u.Listen("tcp", probe) // goes on with the node
		if err != nil {
			return err
		}
		defer at.Close()
		fmt.Println("probe", at.Addr())
		go http.Serve(at, health.Ready(n)) // 503, and the state, while nobody is to be sent here
	}
	fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
	return u.Run(ctx)
}
