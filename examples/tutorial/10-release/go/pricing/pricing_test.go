package main

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/nodestest"
)

func TestQuote(t *testing.T) {
	net := nodestest.New(t)
	net.Node("pricing", func(cfg *nodes.Config) { cfg.Setup = setup }) // pricing@test
	shop := net.BEAM("shop")                                           // shop@test, to it an Erlang node
	shop.Expose("Elixir.Shop.Stock", "count", nodestest.Returns("{ok, 7}"))
	for request, want := range map[string]string{
		`#{sku => <<"A1">>, qty => 3}`: `#{'__struct__' => 'Elixir.Shop.Quote',sku => <<"A1">>,total => 4.5}`,
		`#{sku => <<"A1">>, qty => 9}`: `{error,<<"7 of A1 are left">>}`,
		`#{sku => <<"Z9">>, qty => 1}`: `{error,<<"Z9 has no price">>}`,
	} {
		reply, err := shop.Call("pricing@test", "pricing", "{quote, "+request+"}")
		if err != nil || reply.String() != want {
			t.Errorf("%s: %v, %v", request, reply, err)
		}
	}
}

// A stock that does not answer costs three seconds. In a bubble they pass at once.
func TestQuoteWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := nodestest.New(t)
		net.Node("pricing", func(cfg *nodes.Config) { cfg.Setup = setup })
		shop := net.BEAM("shop")
		shop.Expose("Elixir.Shop.Stock", "count", nodestest.Hangs())
		reply, err := shop.Call("pricing@test", "pricing", `{quote, #{sku => <<"A1">>, qty => 3}}`)
		if err != nil || !strings.Contains(reply.String(), "deadline exceeded") {
			t.Errorf("%v, %v", reply, err)
		}
	})
}
