package debugz_test

import (
	"log"
	"net"
	"net/http"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/debugz"
)

// The page of a service, on a UNIX socket: ssh -L 8080:/run/shop/http.sock, or
// curl --unix-socket /run/shop/http.sock http://shop/?view=json.
func ExampleNew() {
	var page *debugz.Page
	n, err := nodes.New(nodes.Config{
		Name: "shop@127.0.0.1", Cookie: "secret",
		Setup: func(n *nodes.Node) error {
			page = debugz.New(n, nil)
			return nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer n.Close()
	l, err := net.Listen("unix", "/run/shop/http.sock")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(l, page))
}
