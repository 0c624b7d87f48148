package main

import "github.com/cnode-go/cnode/nodes"

// An Order is %Shop.Order{}.
type Order struct {
	_   struct{} `ei:"struct=Elixir.Shop.Order"`
	SKU string
	Qty int
}

// A Quote is %Shop.Quote{}.
type Quote struct {
	_     struct{} `ei:"struct=Elixir.Shop.Quote"`
	SKU   string
	Total float64
}

func quote(o Order) Quote { return Quote{SKU: o.SKU, Total: 1.5 * float64(o.Qty)} }

// setup registers what other nodes find here.
func setup(n *nodes.Node) error {
	n.Expose("pricing", "quote", nodes.FuncOf(quote))
	return nil
}
