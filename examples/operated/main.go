// Command operated is a service with all that those want who run it: probes, metrics, a page, a
// console, their tools for Erlang nodes, and upgrades without a break, a line each. Its cookie is
// in ~/.erlang.cookie.
//
//	operated --name shop@127.0.0.1 --http 127.0.0.1:8080
//	http://127.0.0.1:8080/                a page of what the node does
//	http://127.0.0.1:8080/health/ready    for probes: /health/live, /health/startup
//	http://127.0.0.1:8080/metrics         for Prometheus
//	iex --name me@127.0.0.1 --remsh shop@127.0.0.1, or erl -remsh: type help
//	kill -HUP PID                         goes on in a new process, of the program that is there then
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"log/slog"
	"net/http"
	"os"
	"time"

	cnodeprom "github.com/cnode-go/cnode/contrib/prometheus"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/console"
	"github.com/cnode-go/cnode/nodes/debugz"
	"github.com/cnode-go/cnode/nodes/health"
	"github.com/cnode-go/cnode/nodes/observer"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func quote(sku string, qty int) (int, error) {
	if qty <= 0 {
		return 0, errors.New("nothing to quote")
	}
	return 250 * qty, nil
}

func main() {
	name := flag.String("name", "shop@127.0.0.1", "name of this node")
	addr := flag.String("http", "127.0.0.1:8080", "IP:PORT of the page, probes and metrics")
	flag.Parse()
	level := new(slog.LevelVar)
	seen := console.NewLog(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	var web *http.ServeMux
	u := &upgrade.Upgrader{}
	u.Config = nodes.Config{
		Name: *name, Resolver: &nodes.PortMapper{Embed: true}, DrainGrace: time.Second,
		Logger: slog.New(seen),
		Setup: func(n *nodes.Node) error {
			n.Expose("shop", "quote", nodes.FuncOf(quote))
			web = http.NewServeMux() // not http.Handle: Setup may be called again (see Upgrader.Config)
			web.Handle("/health/", http.StripPrefix("/health", health.Handler(n)))
			web.Handle("/{$}", debugz.New(n, nil)) // and nothing below it
			figures := prometheus.NewRegistry()
			figures.MustRegister(cnodeprom.New(n, nil), collectors.NewGoCollector())
			web.Handle("/metrics", promhttp.HandlerFor(figures, promhttp.HandlerOpts{}))
			return errors.Join(observer.Serve(n, nil), console.Serve(n, &console.Options{
				Level: level, Log: seen, Upgrade: func(ctx context.Context) error { _, err := u.Upgrade(ctx); return err },
			}))
		},
	}
	if _, err := u.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	at, err := u.Listen("tcp", *addr) // goes on with the node: no probe is refused
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(at, web)
	if err := u.Run(context.Background()); err != nil { // until SIGTERM, or until another process is the node
		log.Fatal(err)
	}
}
