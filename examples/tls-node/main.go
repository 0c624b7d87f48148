// Command tls-node is a node over TLS, with the option file that Erlang nodes take: that of your
// cluster, or one that cnode-demo certs has made.
//
//	cnode-demo certs /tmp/tls
//	tls-node /tmp/tls/ssl_dist.conf
//	erl -name me@127.0.0.1 -setcookie secret -proto_dist inet_tls -ssl_dist_optfile /tmp/tls/ssl_dist.conf
//	1> net_adm:ping('safe@127.0.0.1').
package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: tls-node OPTION-FILE")
	}
	tr, err := tlstransport.FromOptFile(os.Args[1], &tlstransport.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	n, err := nodes.New(nodes.Config{
		Name: "safe@127.0.0.1", Cookie: "secret", Transport: tr, Resolver: &nodes.PortMapper{Embed: true},
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
