package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"slices"
	"strings"

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
	node.Expose("math", "add", nodes.FuncOf(func(a, b int) int { return a + b }))
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
		check(err)
		check(n.Start(ctx))
		ns = append(ns, n)
	}
	if ns[0].Name() != "alice@host" {
		ns[0], ns[1] = ns[1], ns[0]
	}
	return ns[0], ns[1]
}

// check ends an example in which something has failed; a program has something better to do.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// What a Go function returns is the call's result, and its error an exception. What it cannot take
// is one, too: badarg, or undef for another number of arguments.
func ExampleNode_Expose() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	bob.Expose("text", "upper", nodes.FuncOf(strings.ToUpper))
	bob.Expose("text", "repeat", nodes.FuncOf(func(s string, times int) (string, error) {
		if times < 0 {
			return "", errors.New("times is negative")
		}
		return strings.Repeat(s, times), nil
	}))
	fmt.Println(nodes.RPCAs[string](ctx, alice, "bob@host", "text", "upper", "hello"))
	fmt.Println(alice.RPC(ctx, "bob@host", "text", "repeat", "hello", 2)) // as a term
	var bad *nodes.Raise
	for _, args := range [][]any{{"hello", -1}, {"hello", 2.5}, {"hello"}} {
		_, err := alice.RPC(ctx, "bob@host", "text", "repeat", args...)
		fmt.Println(errors.As(err, &bad), bad)
	}
	// Output:
	// HELLO <nil>
	// <<"hellohello">> <nil>
	// true error: {go_error,<<"times is negative">>}
	// true error: badarg
	// true error: undef
}

// The web nodes may have quotes, and talk to the till; the nodes of the operators may do
// everything, and all others nothing.
func ExampleRule() {
	ctx := context.Background()
	tr := transport.NewMemory()
	table := nodes.Static{"shop@host": {Addr: transport.MemoryAddr("shop")}}
	shop, err := nodes.New(nodes.Config{
		Name: "shop@host", Cookie: "secret", Transport: tr, Listen: transport.MemoryAddr("shop"), Resolver: table,
		Cookies: map[string]string{"admin@host": "a secret of the operators"},
		Rules: []nodes.Rule{
			{Peer: "admin@host", Allow: true},
			{Peer: "web*@*", Permission: nodes.MayCall, Target: "shop:quote/1", Allow: true},
			{Peer: "web*@*", Permission: nodes.MaySend, Target: "till", Allow: true},
			{}, // nothing else
		},
	})
	check(err)
	defer shop.Close()
	shop.Expose("shop", "quote", nodes.FuncOf(func(pieces int) int { return 7 * pieces }))
	shop.Expose("shop", "refund", nodes.FuncOf(func(pieces int) int { return 7 * pieces }))
	check(shop.Start(ctx))
	web, err := nodes.New(nodes.Config{Name: "web1@host", Cookie: "secret", Transport: tr, Resolver: table})
	check(err)
	defer web.Close()
	fmt.Println(web.RPC(ctx, "shop@host", "shop", "quote", 2))
	var refused *nodes.Raise
	_, err = web.RPC(ctx, "shop@host", "shop", "refund", 2)
	fmt.Println(errors.As(err, &refused), refused)
	_, err = web.CallName(ctx, "shop@host", "accounts", ei.Atom("total"))
	fmt.Println(errors.Is(err, nodes.ErrNoProc))
	fmt.Println(shop.Stats().Denied > 0)
	// Output:
	// 14 <nil>
	// true error: eacces
	// true
	// true
}

// A Func may also take its arguments as they are, as terms, and any number of them.
func ExampleNode_Expose_terms() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	bob.Expose("terms", "kinds", func(_ context.Context, args []ei.Term) (any, error) {
		var kinds []string
		for _, a := range args {
			kinds = append(kinds, fmt.Sprintf("%T", a))
		}
		return kinds, nil
	})
	fmt.Println(alice.RPC(ctx, "bob@host", "terms", "kinds", 5, "text", ei.Atom("ok"), []any{1, 2.5}))
	// Output: [<<"ei.Int">>,<<"ei.Binary">>,<<"ei.Atom">>,<<"ei.List">>] <nil>
}

// A till's methods are the functions of a module, and of a server.
type till struct{ total float64 }

func (t *till) Add(price float64, pieces int) (float64, error) {
	if pieces < 1 {
		return 0, &ei.ReasonError{Reason: ei.Atom("no_pieces")} // {error, no_pieces}
	}
	t.total += price * float64(pieces)
	return t.total, nil
}

func (t *till) GetTotal() float64 { return t.total }

// All methods of a value at once: rpc:call(Node, till, get_total, []).
func ExampleNode_ExposeMethods() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	if err := bob.ExposeMethods("till", &till{}); err != nil { // several calls may run at once
		log.Fatal(err)
	}
	fmt.Println(nodes.RPCAs[float64](ctx, alice, "bob@host", "till", "add", 1.5, 3))
	fmt.Println(nodes.RPCAs[float64](ctx, alice, "bob@host", "till", "get_total"))
	// Output:
	// 4.5 <nil>
	// 4.5 <nil>
}

// The same methods in a server, one call at a time: gen_server:call({till, Node}, {add, 1.5, 3}).
func ExampleMethodsOf() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	methods, err := nodes.MethodsOf(&till{})
	check(err)
	if _, err := bob.Serve("till", nodes.Server{On: methods}, nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println(alice.CallName(ctx, "bob@host", "till", ei.Tuple{ei.Atom("add"), ei.Float(1.5), ei.Int(3)}))
	fmt.Println(alice.CallName(ctx, "bob@host", "till", ei.Tuple{ei.Atom("add"), ei.Float(1.5), ei.Int(0)}))
	fmt.Println(alice.CallName(ctx, "bob@host", "till", ei.Atom("get_total")))
	fmt.Println(alice.CallName(ctx, "bob@host", "till", ei.Atom("close")))
	// Output:
	// 4.5 <nil>
	// {error,no_pieces} <nil>
	// 4.5 <nil>
	// {error,{unknown_request,close}} <nil>
}

// A reply becomes a Go value; {error, Reason}, an exception or the end of the server an error.
func ExampleCallAs() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	type order struct {
		SKU string
		Qty int
	}
	type takeRequest struct { // {take, Order}
		_     struct{} `ei:"tuple=take"`
		Order order
	}
	stock := map[string]int{"A1": 5}
	take := func(o order) (ei.Result[int], error) { // {ok, Left}
		if stock[o.SKU] < o.Qty {
			return ei.Result[int]{}, &ei.ReasonError{Reason: ei.Tuple{ei.Atom("only"), ei.Int(stock[o.SKU])}}
		}
		stock[o.SKU] -= o.Qty
		return ei.Result[int]{Value: stock[o.SKU]}, nil
	}
	_, err := bob.Serve("stock", nodes.Server{On: map[string]nodes.Func{"take": nodes.FuncOf(take)}}, nil)
	check(err)
	for _, qty := range []int{3, 9} {
		left, err := nodes.CallNameAs[int](ctx, alice, "bob@host", "stock", takeRequest{Order: order{"A1", qty}})
		var reason *ei.ReasonError
		fmt.Println(left, errors.As(err, &reason), reason)
	}
	_, err = nodes.CallNameAs[int](ctx, alice, "bob@host", "nobody", ei.Atom("hello"))
	fmt.Println(errors.Is(err, nodes.ErrNoProc))
	// Output:
	// 2 false <nil>
	// 0 true {only,2}
	// true
}

// A mailbox of messages of one type: a map, as it comes from Erlang.
func ExampleMessages() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	type reading struct {
		Sensor string
		Value  float64
	}
	readings, err := bob.NewMailbox(nil)
	check(err)
	check(bob.Register(ctx, "readings", readings))
	sensor, err := alice.NewMailbox(nil)
	check(err)
	for _, message := range []any{reading{"hall", 19.5}, "something else", reading{"yard", -3}} {
		check(sensor.SendName(ctx, "bob@host", "readings", message))
	}
	for r, err := range nodes.Messages[reading](ctx, readings) {
		check(err)
		fmt.Println(r.Sensor, r.Value)
		if r.Sensor == "yard" {
			break
		}
	}
	// Output:
	// hall 19.5
	// yard -3
}

// A mailbox is a process: here two mailboxes on two nodes talk, and one of them sees that the other
// has ended.
func ExampleMailbox() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	counter, err := bob.NewMailbox(nil)
	check(err)
	check(bob.Register(ctx, "counter", counter))
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
	check(err)
	if _, err := self.MonitorName(ctx, "bob@host", "counter"); err != nil {
		log.Fatal(err)
	}
	for _, message := range []any{ei.Tuple{self.Pid(), ei.Int(41)}, "stop"} {
		check(self.SendName(ctx, "bob@host", "counter", message))
		m, err := self.Receive(ctx)
		check(err)
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
	check(err)

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
	check(err)
	for _, tag := range []ei.Atom{"late", "other", "urgent"} {
		check(from.Send(ctx, self.Pid(), ei.Tuple{tag, ei.Int(1)}))
	}
	for _, tag := range []ei.Atom{"urgent", "late"} {
		m, err := receive(tagged(tag))
		check(err)
		fmt.Println(m.Payload)
	}
	// Output:
	// {urgent,1}
	// {late,1}
}

// A server is a process as a gen_server is one: it answers gen_server:call({stack, 'bob@host'},
// pop) and takes gen_server:cast({stack, 'bob@host'}, {push, 1.5}).
func ExampleServer() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	var stack []float64 // the server's state: one function runs at a time
	push := func(v float64) { stack = append(stack, v) }
	pop := func() (float64, error) {
		if len(stack) == 0 {
			return 0, errors.New("nothing to pop") // {error, <<"nothing to pop">>}
		}
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		return top, nil
	}
	_, err := bob.Serve("stack", nodes.Server{On: map[string]nodes.Func{
		"push": nodes.FuncOf(push), "pop": nodes.FuncOf(pop),
	}}, nil)
	check(err)

	self, err := alice.NewMailbox(nil)
	check(err)
	check(self.CastName(ctx, "bob@host", "stack", ei.T("push", 1.5)))
	for range 2 {
		fmt.Println(alice.CallName(ctx, "bob@host", "stack", ei.Atom("pop")))
	}
	// Output:
	// 1.5 <nil>
	// {error,<<"nothing to pop">>} <nil>
}

// The same with requests as they come: terms, whatever is in them.
func ExampleServer_terms() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	defer bob.Close()

	var stack []ei.Term
	_, err := bob.Serve("stack", nodes.Server{
		Call: func(_ context.Context, c *nodes.Call) (any, error) {
			if c.Request != ei.Atom("pop") || len(stack) == 0 {
				return nil, errors.New("nothing to pop")
			}
			top := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			return ei.Tuple{ei.Atom("ok"), top}, nil
		},
		Cast: func(_ context.Context, request ei.Term) { stack = append(stack, request) },
	}, nil)
	check(err)

	self, err := alice.NewMailbox(nil)
	check(err)
	check(self.CastName(ctx, "bob@host", "stack", 1.5))
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
	check(err)
	subscribe := func(ctx context.Context) error { // nil is ok
		return news.Send(ctx, nodes.CallOf(ctx).From, "the first item")
	}
	_, err = bob.Serve("news", nodes.Server{On: map[string]nodes.Func{"subscribe": nodes.FuncOf(subscribe)}}, nil)
	check(err)

	self, err := alice.NewMailbox(nil)
	check(err)
	fmt.Println(self.CallName(ctx, "bob@host", "news", ei.Atom("subscribe")))
	m, err := self.Receive(ctx)
	check(err)
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
	check(err)
	defer bob.Close()
	l, err := bob.Listen(ctx, transport.MemoryAddr("bob"))
	check(err)
	go func() {
		alice, err := nodes.New(nodes.Config{
			Name: "alice@host", Cookie: "secret", Transport: tr, Resolver: nodes.Static{"bob@host": {Addr: l.Addr()}},
		})
		check(err)
		c, err := alice.Connect(ctx, "bob@host")
		check(err)
		for _, text := range []string{"hello", "world"} {
			check(c.SendName(ctx, "printer", text))
		}
		if err := alice.Shutdown(ctx); err != nil { // sends what waits
			log.Fatal(err)
		}
	}()

	c, err := l.Accept(ctx)
	check(err)
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
	check(err)
	supervisor, err := alice.NewMailbox(&nodes.MailboxOptions{TrapExit: true})
	check(err)
	check(supervisor.Link(ctx, worker.Pid()))
	// erlang:exit(Pid, overtime)
	check(supervisor.SendExit(ctx, worker.Pid(), ei.Atom("overtime")))
	m, err := supervisor.Receive(ctx)
	check(err)
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
	check(err)
	mouth, err := alice.NewMailbox(nil)
	check(err)
	for _, text := range []string{"hello", "goodbye"} {
		check(mouth.SendName(ctx, "bob@host", "ear", text))
	}
	fmt.Println(<-heard)
	fmt.Println(<-heard)
	// Output:
	// <<"hello">> from alice@host
	// <<"goodbye">> from alice@host
}

// A loop over the nodes that come up and go down; it begins with those that are up.
func ExampleNode_WatchNodes() {
	ctx := context.Background()
	alice, bob := two(ctx)
	defer alice.Close()
	if _, err := alice.Connect(ctx, "bob@host"); err != nil {
		log.Fatal(err)
	}
	for e := range alice.WatchNodes(ctx) {
		fmt.Println(e)
		if !e.Up {
			break // Why and Err say why
		}
		bob.Close()
	}
	// Output:
	// node bob@host up (hidden)
	// node bob@host down (hidden): closed by the peer
}
