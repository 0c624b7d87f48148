package main

import "github.com/cnode-go/cnode/nodes"

func total(price float64, qty int) float64 { return price * float64(qty) }

// setup registers what other nodes find here.
func setup(n *nodes.Node) error {
	n.Expose("pricing", "total", nodes.FuncOf(total))
	return nil
}
