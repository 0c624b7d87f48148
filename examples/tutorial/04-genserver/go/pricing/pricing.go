package main

import (
	"fmt"

	"github.com/cnode-go/cnode/nodes"
)

// A pricing is the state of the process. Its methods run one at a time, so it needs no lock.
type pricing struct{ prices map[string]float64 }

func (p *pricing) set(sku string, price float64) { p.prices[sku] = price }

func (p *pricing) quote(o Order) (Quote, error) {
	price, ok := p.prices[o.SKU]
	if !ok {
		return Quote{}, fmt.Errorf("%s has no price", o.SKU)
	}
	return Quote{SKU: o.SKU, Total: price * float64(o.Qty)}, nil
}

func newPricing() nodes.Server {
	p := &pricing{prices: map[string]float64{"A1": 1.5}}
	return nodes.Server{
		On:    map[string]nodes.Func{"set": nodes.FuncOf(p.set), "quote": nodes.FuncOf(p.quote)},
		State: func() any { return p.prices },
	}
}

// setup registers what other nodes find here.
func setup(n *nodes.Node) error {
	_, err := n.Serve("pricing", newPricing(), nil)
	return err
}
