package main

import (
	"context"
	"fmt"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// An order is what the handlers of Go types take: #{sku => <<"apple">>, pieces => 3, price => 2.5}.
type order struct {
	SKU    string  `ei:"sku"`
	Pieces int     `ei:"pieces"`
	Price  float64 `ei:"price"`
}

// A quote is their answer: #{sku => <<"apple">>, total => 7.5}.
type quote struct {
	SKU   string  `ei:"sku"`
	Total float64 `ei:"total"`
}

func quoteOf(o order) quote { return quote{o.SKU, float64(o.Pieces) * o.Price} }

// quoteTerm is quoteOf of terms, as bench_upper.erl has it.
func quoteTerm(t ei.Term) (any, error) {
	m, _ := t.(ei.Map)
	sku, ok := m.Get(ei.Atom("sku"))
	pieces, _ := m.Get(ei.Atom("pieces"))
	price, _ := m.Get(ei.Atom("price"))
	n, isInt := pieces.(ei.Int)
	each, isFloat := price.(ei.Float)
	if !ok || !isInt || !isFloat {
		return nil, &nodes.Raise{Reason: ei.Atom("badarg")}
	}
	return ei.MapOf(ei.Atom("sku"), sku, ei.Atom("total"), ei.Float(float64(n)*float64(each))), nil
}

// serveUpper serves what bench_upper.erl serves, on the upper level: functions and a server, each
// of terms and of Go types; processes that do nothing.
func serveUpper(ctx context.Context, cfg nodes.Config) error {
	cfg.Setup = func(n *nodes.Node) error {
		n.Expose("bench_upper", "quote", func(_ context.Context, args []ei.Term) (any, error) { return quoteTerm(args[0]) })
		n.Expose("bench_upper", "typed", nodes.FuncOf(quoteOf))
		n.Expose("bench_upper", "idle", nodes.FuncOf(func(processes int) (ei.Pid, error) {
			var last ei.Pid
			for range processes {
				b, err := n.NewMailbox(nil)
				if err != nil {
					return last, err
				}
				last = b.Pid()
			}
			return last, nil
		}))
		_, err := n.Serve("quotes", nodes.Server{Call: func(_ context.Context, c *nodes.Call) (any, error) {
			t, _ := c.Request.(ei.Tuple)
			return quoteTerm(t[1])
		}}, nil)
		if err == nil {
			_, err = n.Serve("typed", nodes.Server{On: map[string]nodes.Func{"quote": nodes.FuncOf(quoteOf)}}, nil)
		}
		return err
	}
	return startAndServe(ctx, cfg)
}

// startAndServe serves on the upper level until the process ends.
func startAndServe(ctx context.Context, cfg nodes.Config) error {
	n, err := nodes.New(cfg)
	if err != nil {
		return err
	}
	if err := n.Start(ctx); err != nil {
		return err
	}
	bound, err := transport.AddrPort(n.Listeners()[0].Addr())
	if err != nil {
		return err
	}
	endWithInput()
	fmt.Printf("ready %s %d\n", n.Name(), bound.Port())
	select {}
}
