package cnodews_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/cnode-go/cnode/contrib/websocket"
	"github.com/cnode-go/cnode/nodes"
)

// A node behind an HTTP server, at a path among others, and one that connects to it with a token.
func Example() {
	ctx := context.Background()
	web, err := net.Listen("tcp", "127.0.0.1:0") // in a program: ":8080", behind its proxy
	if err != nil {
		log.Fatal(err)
	}

	// The server.
	ws := cnodews.New(&cnodews.Options{Authorize: cnodews.Bearer(func(_ context.Context, token string) error {
		if token != "t0ken" {
			return errors.New("unknown token")
		}
		return nil
	})})
	mux := http.NewServeMux()
	mux.Handle("/erlang", ws)
	server := http.Server{Handler: mux}
	defer server.Close()
	go server.Serve(web)
	shop, err := nodes.New(nodes.Config{
		Name: "shop@example.org", Cookie: "secret", Transport: ws, Resolver: nodes.Static{},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer shop.Close()
	shop.Expose("shop", "quote", nodes.FuncOf(func(item string) int { return 10 * len(item) }))
	if err := shop.Start(ctx); err != nil {
		log.Fatal(err)
	}

	// The client.
	at := cnodews.URL("ws://" + web.Addr().String() + "/erlang") // wss://shop.example.org/erlang
	tr := cnodews.New(&cnodews.Options{Header: func(context.Context, string) (http.Header, error) {
		return http.Header{"Authorization": {"Bearer t0ken"}}, nil
	}})
	till, err := nodes.New(nodes.Config{
		Name: "till@branch", Cookie: "secret", Transport: tr, Resolver: nodes.Static{"shop@example.org": {Addr: at}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer till.Close()
	if err := till.Start(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(till.RPC(ctx, "shop@example.org", "shop", "quote", "teapot"))
	// Output: 60 <nil>
}
