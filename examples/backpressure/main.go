// Command backpressure is a node whose processes take, and send, no faster than the other side
// works: docs/how-to/slow-receivers.md has the Erlang and Elixir that belongs to it.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// window is how many items may be on their way, or wait, at once.
const window = 100

// consume counts the bytes of what a producer sends. It gives the producer credit: at first for a
// window of items, then for as many as it has dealt with.
func consume(ctx context.Context, producer ei.Pid) error {
	self := nodes.MailboxOf(ctx)
	credit := func(n int) error {
		return self.Send(ctx, producer, ei.Tuple{self.Pid(), ei.Tuple{ei.Atom("ack"), ei.Int(n)}})
	}
	if err := self.SetLimit(16<<20, nodes.FullExit); err != nil { // for one who sends without credit
		return err
	}
	if err := credit(window); err != nil {
		return err
	}
	total, done := 0, 0
	for term, err := range nodes.Messages[ei.Term](ctx, self) {
		item, more := term.(ei.Binary)
		switch {
		case err != nil:
			return err
		case !more: // the end
			return self.Send(ctx, producer, ei.Tuple{self.Pid(), ei.Tuple{ei.Atom("total"), ei.Int(total)}})
		}
		work(item)
		total += len(item)
		if done++; done%(window/2) == 0 { // not one by one: an ack is a message, too
			if err := credit(window / 2); err != nil {
				return err
			}
		}
	}
	return nil
}

// work is what takes long.
func work(ei.Binary) { time.Sleep(50 * time.Microsecond) }

// A demand is what a consumer asks for, as of a GenStage: {ask, N}.
type demand struct {
	_ struct{} `ei:"tuple=ask"`
	N int
}

// produce sends the numbers up to last, as many as the consumer asks for.
func produce(ctx context.Context, consumer ei.Pid, last int) error {
	self, next := nodes.MailboxOf(ctx), 1
	for d, err := range nodes.Messages[demand](ctx, self) {
		if err != nil {
			return err
		}
		events := ei.List{}
		for ; len(events) < d.N && next <= last; next++ {
			events = append(events, ei.Int(next))
		}
		if err := self.Send(ctx, consumer, ei.Tuple{self.Pid(), ei.Tuple{ei.Atom("events"), events}}); err != nil {
			return err
		}
		if next > last {
			return self.Send(ctx, consumer, ei.Tuple{self.Pid(), ei.Atom("done")})
		}
	}
	return nil
}

func main() {
	n, err := nodes.New(nodes.Config{Name: "flow@127.0.0.1", Cookie: "secret", Resolver: &nodes.PortMapper{Embed: true}, Setup: setup})
	if err == nil {
		err = n.Start(context.Background())
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
	<-n.Done()
}

func setup(n *nodes.Node) error {
	n.Expose("flow", "consume", nodes.FuncOf(consume))
	n.Expose("flow", "produce", nodes.FuncOf(produce))
	put := func(item ei.Binary) int { work(item); return len(item) }
	_, err := n.Serve("store", nodes.Server{On: map[string]nodes.Func{"put": nodes.FuncOf(put)}}, nil)
	return err
}
