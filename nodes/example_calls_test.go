package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// A call by erpc: the result, or what has become of the function.
func ExampleNode_ERPC() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	bob.Expose("shop", "price", nodes.FuncOf(func(sku string) (int, error) {
		if sku != "A1" {
			return 0, &nodes.Raise{Class: nodes.ClassExit, Reason: ei.Atom("no_such_item")}
		}
		return 2, nil
	}))
	fmt.Println(alice.ERPC(ctx, "bob@host", "shop", "price", "A1"))
	fmt.Println(nodes.ERPCAs[int](ctx, alice, "bob@host", "shop", "price", "A1"))

	for _, call := range []func() (ei.Term, error){
		func() (ei.Term, error) { return alice.ERPC(ctx, "bob@host", "shop", "price", "B2") },
		func() (ei.Term, error) { return alice.ERPC(ctx, "bob@host", "shop", "size") },
		func() (ei.Term, error) { return alice.ERPC(ctx, "carol@host", "shop", "price", "A1") },
	} {
		_, err := call()
		var exception *nodes.Raise
		switch {
		case errors.As(err, &exception): // the function's
			fmt.Println(exception.Class, exception.Reason)
		case errors.Is(err, nodes.ErrNoConnection):
			fmt.Println("no connection")
		case errors.Is(err, context.DeadlineExceeded):
			fmt.Println("too late")
		}
	}
	// Output:
	// 2 <nil>
	// 2 <nil>
	// exit no_such_item
	// error undef
	// no connection
}

// Many nodes at once, the quickest first.
func ExampleMulticallAs() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	for _, n := range []*nodes.Node{alice, bob} {
		n.Expose("load", "jobs", nodes.FuncOf(func() int { return len(n.Name()) }))
	}
	total := 0
	names := []string{"alice@host", "bob@host", "carol@host"}
	for node, answer := range nodes.MulticallAs[int](ctx, alice, names, "load", "jobs") {
		if answer.Err != nil {
			fmt.Println(node, "does not count:", errors.Is(answer.Err, nodes.ErrNoConnection))
			continue
		}
		total += answer.Value
	}
	fmt.Println(total)
	// Output:
	// carol@host does not count: true
	// 18
}

// Several calls at once, whose answers are taken as they come.
func ExampleAnswered() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	hurry := make(chan struct{})
	bob.Expose("work", "slow", nodes.FuncOf(func() string { <-hurry; return "slow" }))
	bob.Expose("work", "quick", nodes.FuncOf(func() string { return "quick" }))
	var requests []*nodes.Request
	for _, fun := range []string{"slow", "quick"} {
		r, err := alice.ERPCRequest(ctx, "bob@host", "work", fun) // it is out
		check(err)
		requests = append(requests, r)
	}
	for r := range nodes.Answered(ctx, requests...) {
		fmt.Println(nodes.WaitAs[string](ctx, r))
		if r == requests[1] {
			close(hurry)
		}
	}
	// Output:
	// quick <nil>
	// slow <nil>
}

// A process on another node: its end is a message.
func ExampleMailbox_SpawnMonitor() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	bob.Expose("work", "run", func(context.Context, []ei.Term) (any, error) {
		return nil, &nodes.Raise{Class: nodes.ClassExit, Reason: ei.Atom("tired")}
	})
	box, err := alice.NewMailbox(nil)
	check(err)
	pid, ref, err := box.SpawnMonitor(ctx, "bob@host", "work", "run")
	fmt.Println(pid.Node, err)
	m, err := box.Receive(ctx)
	check(err)
	fmt.Println(m.Ref == ref, m.From == pid)
	fmt.Println(m.Reason.Decode())
	// Output:
	// bob@host <nil>
	// true true
	// tired <nil>
}

// A called function is a process: it receives what others send to it, and knows who has spawned it.
func ExampleMailboxOf() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	bob.Expose("shop", "cart", nodes.FuncOf(func(ctx context.Context) error {
		self, parent := nodes.MailboxOf(ctx), nodes.CallerOf(ctx)
		count := 0
		for _, err := range nodes.Messages[string](ctx, self) { // until the parent ends, with which it is linked
			if err != nil {
				return err
			}
			count++
			if err := self.Send(ctx, parent, count); err != nil {
				return err
			}
		}
		return nil
	}))
	box, err := alice.NewMailbox(nil)
	check(err)
	cart, err := box.SpawnLink(ctx, "bob@host", "shop", "cart") // spawn_link('bob@host', shop, cart, [])
	fmt.Println(cart.Node, err)
	for _, item := range []string{"tea", "milk"} {
		check(box.Send(ctx, cart, item))
		for count, err := range nodes.Messages[int](ctx, box) {
			fmt.Println(count, err)
			break
		}
	}
	// Output:
	// bob@host <nil>
	// 1 <nil>
	// 2 <nil>
}

// What the called function prints goes to a process of this node, which speaks the io protocol.
func ExampleWithGroupLeader() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	leader, err := alice.NewMailbox(nil)
	check(err)
	bob.Expose("work", "where", nodes.FuncOf(func(ctx context.Context) ei.Term { return nodes.GroupLeaderOf(ctx) }))
	where, err := alice.ERPC(nodes.WithGroupLeader(ctx, leader.Pid()), "bob@host", "work", "where")
	fmt.Println(where == leader.Pid(), err)
	// Output: true <nil>
}
