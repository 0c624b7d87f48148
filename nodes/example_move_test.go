//go:build unix

package nodes_test

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A whole node goes on in another Node value, as it would in another process: the state and the
// descriptors are all that passes between the two.
func ExampleRestore() {
	ctx := context.Background()
	cfg := nodes.Config{
		Name: "counter@127.0.0.1", Cookie: "secret", Resolver: nodes.Static{},
		Setup: func(n *nodes.Node) error {
			inherited, restored := n.Inherited()
			count := len(inherited)
			fmt.Println("restored:", restored, "count:", count)
			_, err := n.Serve("count", nodes.Server{Call: func(context.Context, *nodes.Call) (any, error) {
				count++
				return count, nil
			}}, nil)
			return err
		},
		// in place of something better
		Handover: func(context.Context) ([]byte, error) { return []byte("xxx"), nil },
	}
	old, err := nodes.New(cfg)
	check(err)
	check(old.Start(ctx))
	pid := old.Whereis("count").Pid()

	frozen, err := old.Freeze(ctx)
	if err != nil {
		fmt.Println(err) // and old goes on
		return
	}
	var descriptors []int
	for _, fd := range frozen.Descriptors() { // to another process they would be sent
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			fmt.Println(err)
		}
		descriptors = append(descriptors, own)
	}
	staged, err := nodes.Restore(cfg, frozen.State(), descriptors)
	if err != nil {
		frozen.Thaw()
		fmt.Println(err)
		return
	}
	frozen.Release() // from here on the new one has it
	staged.Start(ctx)
	n := staged.Node()
	defer n.Close()

	fmt.Println("old:", old.Err())
	fmt.Println("the same process:", n.Whereis("count").Pid() == pid)
	reply, err := n.CallName(ctx, n.Name(), "count", ei.Atom("next"))
	fmt.Println(reply, err)
	// Output:
	// restored: false count: 0
	// restored: true count: 3
	// old: moved to another process
	// the same process: true
	// 4 <nil>
}

// A connection alone goes on in another process that has the node's name and creation: here in
// another Node value. Its peer notices nothing.
func ExampleConn_Detach() {
	ctx := context.Background()
	node := func(name, process string, worker uint16) *nodes.Node {
		// Two processes that are one node tell their pids apart by Worker.
		n, err := nodes.New(nodes.Config{Name: name, Cookie: "secret", Resolver: nodes.Static{}, Creation: 7, Worker: worker})
		if err != nil {
			panic(err)
		}
		n.Expose("who", "serves", func(context.Context, []ei.Term) (any, error) { return ei.Atom(process), nil })
		return n
	}
	peer, old, next := node("peer@127.0.0.1", "peer", 0), node("moves@127.0.0.1", "old", 1), node("moves@127.0.0.1", "next", 2)
	for _, n := range []*nodes.Node{peer, old, next} {
		defer n.Close()
		check(n.Start(ctx))
	}
	if _, err := peer.ConnectAddr(ctx, old.Listeners()[0].Addr(), "moves@127.0.0.1"); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(peer.RPC(ctx, "moves@127.0.0.1", "who", "serves"))

	moved, err := old.Conn("peer@127.0.0.1").Detach(ctx)
	if err != nil {
		fmt.Println(err) // and the connection goes on
		return
	}
	// State and FD, sent to another process with package transport/handoff
	c, err := next.Adopt(ctx, moved)
	fmt.Println(c.Name(), err)
	fmt.Println(peer.RPC(ctx, "moves@127.0.0.1", "who", "serves"))
	fmt.Println(old.Peers(), next.Peers())
	// Output:
	// old <nil>
	// peer@127.0.0.1 <nil>
	// next <nil>
	// [] [peer@127.0.0.1]
}

// The two sides of a hand-off. Between two processes the other end of the channel is an open file
// of the new one: docs/explanation/who-owns-a-connection.md.
func ExampleNode_Offer() {
	ctx := context.Background()
	cfg := nodes.Config{Name: "moving@127.0.0.1", Cookie: "secret", Resolver: nodes.Static{}}
	n, err := nodes.New(cfg)
	if err == nil {
		err = n.Start(ctx)
	}
	check(err)
	channel, other, err := handoff.ChannelPair()
	check(err)
	defer channel.Close()

	running := make(chan *nodes.Node)
	go func() { // the new process
		defer close(running)
		channel, err := handoff.FileChannel(other)
		check(err)
		defer channel.Close()
		var staged *nodes.Staged
		taken, err := (&handoff.Acceptance{
			Terms: cfg.Terms(),
			Stage: func(_ context.Context, state []byte, fds []int) (_ handoff.Staged, err error) {
				staged, err = nodes.Restore(cfg, state, fds)
				return staged, err
			},
		}).Take(ctx, channel)
		if !taken.Owns {
			fmt.Println(err)
			return
		}
		running <- staged.Node()
	}()

	handed, err := n.Offer().Give(ctx, channel)
	fmt.Println("moved:", handed.Moved, err)
	successor := <-running
	defer successor.Close()
	fmt.Println("old:", n.Err())
	fmt.Println("new:", successor.Name(), successor.Err())
	// Output:
	// moved: true <nil>
	// old: moved to another process
	// new: moving@127.0.0.1 <nil>
}
