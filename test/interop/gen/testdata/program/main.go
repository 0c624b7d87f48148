// Command program exchanges values with Elixir, in types that cnode-gen has written beside it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/cnode-go/cnode/nodes"
)

// pay gives an order that is paid.
func pay(order Order) (Order, error) {
	if order.Status != OrderStatusNew {
		return order, errors.New("it is " + string(order.Status))
	}
	order.Was = append(order.Was, order.Status)
	order.Status = OrderStatusPaid
	return order, nil
}

// total says what some lines cost, and "quotes" \ #{it}.
func total(_ context.Context, lines ...Line) (sum float64) {
	for _, l := range lines {
		sum += float64(l.Count) * l.Price
	}
	return sum
}

// A Place has what may be absent, at every depth.
type Place struct {
	Note  *string
	Inner *Place
	Each  []*string
}

// places gives some, of which little is known.
func places(note string) map[string]Place {
	return map[string]Place{"a": {Inner: &Place{Note: &note}, Each: []*string{nil, &note}}}
}

func main() {
	n, err := nodes.New(nodes.Config{Name: os.Args[1], Cookie: os.Getenv("COOKIE"), Resolver: &nodes.PortMapper{}})
	if err == nil {
		n.Expose("till", "total", nodes.FuncOf(total))
		n.Expose("till", "new", nodes.FuncOf(NewOrder))
		n.Expose("till", "places", nodes.FuncOf(places))
		err = n.Start(context.Background())
	}
	if err == nil {
		_, err = n.Serve("orders", nodes.Server{On: map[string]nodes.Func{
			"echo": nodes.FuncOf(func(order Order) Order { return order }),
			"pay":  nodes.FuncOf(pay),
		}}, nil)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
	<-n.Done()
}
