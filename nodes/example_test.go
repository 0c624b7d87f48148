package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"slices"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// A first node. Any Erlang node of the cluster may call it, rpc:call('go@127.0.0.1', math, add, [1,
// 2]), and it may call any of them.
func Example() {
	ctx := context.Background()
	node, err := nodes.New(nodes.Config{
		Name:     "go@127.0.0.1",
		Cookie:   "secret",                       // without it: that of ~/.erlang.cookie
		Resolver: &nodes.PortMapper{Embed: true}, // brings its own port mapper where no epmd runs
	})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	node.Expose("math", "add", func(_ context.Context, args []ei.Term) (any, error) {
		return args[0].(ei.Int) + args[1].(ei.Int), nil
	})
	if err := node.Start(ctx); err != nil {
		log.Fatal(err)
	}
	sum, err := node.RPC(ctx, "go@127.0.0.1", "math", "add", 1, 2) // or the name of any other node
	fmt.Println(sum, err)
	// Output: 3 <nil>
}

// two starts two nodes that find each other in a table, over a transport inside the process.
func two(ctx context.Context) (alice, bob *nodes.Node) {
	tr := transport.NewMemory()
	table := nodes.Static{
		"alice@host": {Addr: transport.MemoryAddr("alice")},
		"bob@host":   {Addr: transport.MemoryAddr("bob")},
	}
	var ns []*nodes.Node
	for name, at := range table {
		n, err := nodes.New(nodes.Config{Name: name, Cookie: "secret", Transport: tr, Listen: at.Addr, Resolver: table})
		if err != nil {
			log.Fatal(err)
		}
		if err := n.Start(ctx); err != nil {
			log.Fatal(err)
		}
		ns = append(ns, n)
	}
	if ns[0].Name() != "alice@host" {
		ns[0], ns[1] = ns[1], ns[0]
	}
	return ns[0], ns[1]
}

// What a Go function returns is the call's result, and its error an exception.
func ExampleNode_Expose() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	bob.Expose("text", "length", func(_ context.Context, args []ei.Term) (any, error) {
		if len(args) != 1 {
			return nil, &nodes.Raise{Class: nodes.ClassError, Reason: ei.Atom("undef")}
		}
		text, ok := args[0].(ei.Binary)
		if !ok {
			return nil, &nodes.Raise{Class: nodes.ClassError, Reason: ei.Atom("badarg")}
		}
		return len(text), nil
	})
	fmt.Println(alice.RPC(ctx, "bob@host", "text", "length", "hello"))

	_, err := alice.RPC(ctx, "bob@host", "text", "length", 5)
	var bad *nodes.RPCError
	fmt.Println(errors.As(err, &bad), bad)
	// Output:
	// 5 <nil>
	// true {badrpc,{'EXIT',{badarg,[]}}}
}

// A mailbox is a process: here two mailboxes on two nodes talk, and one of them sees that the other
// has ended.
func ExampleMailbox() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	counter, err := bob.NewMailbox(nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := bob.Register("counter", counter); err != nil {
		log.Fatal(err)
	}
	go func() { // answers {Pid, N} with N + 1, and leaves on a message of any other form
		for m, err := range counter.All(ctx) {
			if err != nil {
				return
			}
			c := ei.NewCursor(m.Payload) // or m.Term()
			size, _ := c.Tuple()
			from, err1 := c.Pid()
			n, err2 := c.Int()
			if size != 2 || err1 != nil || err2 != nil {
				counter.Exit(ei.Atom("enough"))
				return
			}
			if err := counter.Send(ctx, from, n+1); err != nil {
				log.Print(err)
			}
		}
	}()

	self, err := alice.NewMailbox(nil)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := self.MonitorName(ctx, "bob@host", "counter"); err != nil {
		log.Fatal(err)
	}
	for _, message := range []any{ei.Tuple{self.Pid(), ei.Int(41)}, "stop"} {
		if err := self.SendName(ctx, "bob@host", "counter", message); err != nil {
			log.Fatal(err)
		}
		m, err := self.Receive(ctx)
		if err != nil {
			log.Fatal(err)
		}
		if m.Reason == nil {
			fmt.Println("got", m.Payload)
		} else {
			fmt.Println("it ended:", m.Reason)
		}
	}
	// Output:
	// got 42
	// it ended: enough
}

// Erlang's receive takes the first message that matches and leaves the others where they are. Here
// a mailbox does the same. What it sets aside does not count towards MailboxOptions.Limit any more,
// so it has a bound of its own.
func ExampleMailbox_Receive_selective() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()
	self, err := bob.NewMailbox(nil)
	if err != nil {
		log.Fatal(err)
	}

	var aside []*nodes.Message
	receive := func(matches func(*nodes.Message) bool) (*nodes.Message, error) {
		if i := slices.IndexFunc(aside, matches); i >= 0 {
			m := aside[i]
			aside = slices.Delete(aside, i, i+1)
			return m, nil
		}
		for len(aside) < 1000 {
			m, err := self.Receive(ctx)
			if err != nil || matches(m) {
				return m, err
			}
			aside = append(aside, m)
		}
		return nil, errors.New("too many messages that nobody wants")
	}
	tagged := func(tag ei.Atom) func(*nodes.Message) bool {
		return func(m *nodes.Message) bool {
			c := ei.NewCursor(m.Payload)
			size, err := c.Tuple()
			if err != nil || size != 2 {
				return false
			}
			a, err := c.Atom()
			return err == nil && a == tag
		}
	}

	from, err := alice.NewMailbox(nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, tag := range []ei.Atom{"late", "other", "urgent"} {
		if err := from.Send(ctx, self.Pid(), ei.Tuple{tag, ei.Int(1)}); err != nil {
			log.Fatal(err)
		}
	}
	for _, tag := range []ei.Atom{"urgent", "late"} {
		m, err := receive(tagged(tag))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Payload)
	}
	// Output:
	// {urgent,1}
	// {late,1}
}

// A server is a process as a gen_server is one: it answers gen_server:call({stack, 'bob@host'},
// pop) and takes gen_server:cast.
func ExampleServer() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	var stack []ei.Term // the server's state: one function runs at a time
	_, err := bob.Serve("stack", nodes.Server{
		Call: func(_ context.Context, c *nodes.Call) (any, error) {
			if c.Request != ei.Atom("pop") || len(stack) == 0 {
				return nil, errors.New("nothing to pop") // {error, <<"nothing to pop">>}
			}
			top := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			return ei.Tuple{ei.Atom("ok"), top}, nil
		},
		Cast: func(_ context.Context, request ei.Term) { stack = append(stack, request) },
	}, nil)
	if err != nil {
		log.Fatal(err)
	}

	self, err := alice.NewMailbox(nil)
	if err != nil {
		log.Fatal(err)
	}
	cast := ei.Tuple{ei.Atom("$gen_cast"), ei.Float(1.5)}
	if err := self.SendName(ctx, "bob@host", "stack", cast); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		fmt.Println(alice.CallName(ctx, "bob@host", "stack", ei.Atom("pop")))
	}
	// Output:
	// {ok,1.5} <nil>
	// {error,<<"nothing to pop">>} <nil>
}

// A mailbox that calls is a process to the server, which may remember it, and tell it more than the
// reply.
func ExampleMailbox_Call() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	news, err := bob.NewMailbox(nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = bob.Serve("news", nodes.Server{
		Call: func(ctx context.Context, c *nodes.Call) (any, error) { // c.Request is subscribe
			return ei.Atom("ok"), news.Send(ctx, c.From, "the first item")
		},
	}, nil)
	if err != nil {
		log.Fatal(err)
	}

	self, err := alice.NewMailbox(nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(self.CallName(ctx, "bob@host", "news", ei.Atom("subscribe")))
	m, err := self.Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Payload)
	// Output:
	// ok <nil>
	// <<"the first item">>
}

// The level of the C library: the program accepts, connects and receives by itself.
func ExampleConn_Receive() {
	ctx := context.Background()
	tr := transport.NewMemory()
	bob, err := nodes.New(nodes.Config{Name: "bob@host", Cookie: "secret", Transport: tr, Resolver: nodes.Static{}})
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close()
	l, err := bob.Listen(ctx, transport.MemoryAddr("bob"))
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		alice, err := nodes.New(nodes.Config{
			Name: "alice@host", Cookie: "secret", Transport: tr, Resolver: nodes.Static{"bob@host": {Addr: l.Addr()}},
		})
		if err != nil {
			log.Fatal(err)
		}
		c, err := alice.Connect(ctx, "bob@host")
		if err != nil {
			log.Fatal(err)
		}
		for _, text := range []string{"hello", "world"} {
			if err := c.SendName(ctx, "printer", text); err != nil {
				log.Fatal(err)
			}
		}
		if err := alice.Shutdown(ctx); err != nil { // sends what waits
			log.Fatal(err)
		}
	}()

	c, err := l.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("connected:", c.Name())
	for m := new(nodes.Message); ; {
		if err := c.ReceiveInto(ctx, m); err != nil {
			fmt.Println("over:", errors.Is(err, io.EOF))
			return
		}
		fmt.Println(m.Op, m.ToName, m.Payload)
	}
	// Output:
	// connected: alice@host
	// REG_SEND printer <<"hello">>
	// REG_SEND printer <<"world">>
	// over: true
}

// A link ties two processes: when one ends, so does the other, unless it traps exits and gets a
// message of it.
func ExampleMailbox_Link() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	worker, err := bob.NewMailbox(nil)
	if err != nil {
		log.Fatal(err)
	}
	supervisor, err := alice.NewMailbox(&nodes.MailboxOptions{TrapExit: true})
	if err != nil {
		log.Fatal(err)
	}
	if err := supervisor.Link(ctx, worker.Pid()); err != nil {
		log.Fatal(err)
	}
	// erlang:exit(Pid, overtime)
	if err := supervisor.SendExit(ctx, worker.Pid(), ei.Atom("overtime")); err != nil {
		log.Fatal(err)
	}
	m, err := supervisor.Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Op, m.From == worker.Pid(), m.Reason)
	fmt.Println(worker.Err().(*nodes.ExitError).Reason)
	// Output:
	// EXIT true overtime
	// overtime
}

// A Handler takes messages on the goroutine of their connection: no queue, no change of goroutines,
// and it must not wait.
func ExampleNode_Handle() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	heard := make(chan string, 2)
	_, err := bob.Handle("ear", func(_ *nodes.Mailbox, m *nodes.Message) {
		heard <- fmt.Sprint(m.Payload, " from ", m.Conn().Name())
		m.Release()
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	mouth, err := alice.NewMailbox(nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"hello", "goodbye"} {
		if err := mouth.SendName(ctx, "bob@host", "ear", text); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(<-heard)
	fmt.Println(<-heard)
	// Output:
	// <<"hello">> from alice@host
	// <<"goodbye">> from alice@host
}
