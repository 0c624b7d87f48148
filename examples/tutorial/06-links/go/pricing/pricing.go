package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/nodes"
)

// A pricing is the state of the process. Its methods run one at a time, so it needs no lock.
type pricing struct {
	n      *nodes.Node
	prices map[string]float64
}

func (p *pricing) set(sku string, price float64) { p.prices[sku] = price }

func (p *pricing) quote(ctx context.Context, o Order) (Quote, error) {
	price, ok := p.prices[o.SKU]
	if !ok {
		return Quote{}, fmt.Errorf("%s has no price", o.SKU)
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second) // GenServer.call waits for 5 s
	defer cancel()
	shop := string(nodes.CallerOf(ctx).Node)
	left, err := nodes.ERPCAs[int](ctx, p.n, shop, "Elixir.Shop.Stock", "count", o.SKU)
	var raised *nodes.ERPCError
	switch {
	case errors.As(err, &raised): // the function has raised, exited or thrown
		return Quote{}, fmt.Errorf("the stock of %s is unknown", o.SKU)
	case err != nil: // {:error, reason}, which the caller gets as it is; or no answer
		return Quote{}, err
	case left < o.Qty:
		return Quote{}, fmt.Errorf("%d of %s are left", left, o.SKU)
	}
	return Quote{SKU: o.SKU, Total: price * float64(o.Qty)}, nil
}

func newPricing(n *nodes.Node) nodes.Server {
	p := &pricing{n: n, prices: map[string]float64{"A1": 1.5, "B2": 2, "C3": 3}}
	b := basket{}
	return nodes.Server{
		On: map[string]nodes.Func{
			"set": nodes.FuncOf(p.set), "quote": nodes.FuncOf(p.quote),
			"reserve": nodes.FuncOf(b.reserve), "count": nodes.FuncOf(b.count), "pid": nodes.FuncOf(pid),
		},
		Info:  b.info,
		State: func() any { return p.prices },
	}
}

// setup registers what other nodes find here.
func setup(n *nodes.Node) error {
	_, err := n.Serve("pricing", newPricing(n), nil)
	return err
}
