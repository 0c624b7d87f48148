// Command first-node is a node that Elixir and Erlang nodes of this machine can ping and call. With
// the cookie "secret":
//
//	iex --name me@127.0.0.1 --cookie secret
//	iex> GenServer.call({:pricing, :"go@127.0.0.1"}, {:quote, %{sku: "A1", qty: 3, tags: [], price: 1.5, when: ~D[2026-01-01]}})
//	%{__struct__: Shop.Quote, ...}
//
//	erl -name me@127.0.0.1 -setcookie secret
//	1> net_adm:ping('go@127.0.0.1').
//	2> rpc:call('go@127.0.0.1', go, upper, [<<"abc">>]).
package main

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/cnode-go/cnode/nodes"
)

type Order struct { // %Shop.Order{sku: "A1", qty: 3, ...}, or any map with these keys
	SKU   string
	Qty   int
	Tags  []string
	Price float64
	When  Date
}

type Quote struct { // %Shop.Quote{sku: "A1", ...}
	_     struct{} `ei:"struct=Elixir.Shop.Quote"`
	SKU   string
	Total float64
	When  Date
}

func quote(o Order) Quote {
	return Quote{SKU: o.SKU, Total: float64(o.Qty) * o.Price, When: o.When}
}

func main() {
	n, err := nodes.New(nodes.Config{Name: "go@127.0.0.1", Cookie: "secret", Resolver: &nodes.PortMapper{Embed: true}})
	if err == nil {
		n.Expose("go", "upper", nodes.FuncOf(strings.ToUpper)) // rpc:call, erpc:call
		err = n.Start(context.Background())
	}
	if err == nil { // GenServer.call({:pricing, node}, {:quote, order})
		_, err = n.Serve("pricing", nodes.Server{On: map[string]nodes.Func{"quote": nodes.FuncOf(quote)}}, nil)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
	<-n.Done()
}
