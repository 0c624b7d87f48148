package nodes

import (
	"context"
	"errors"
	"sync"

	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// lastThaw begins a shutdown: from here on no freeze succeeds. It waits for the end of a freeze
// that has succeeded before.
func (n *Node) lastThaw(ctx context.Context) error {
	n.shutting.Add(1)
	err := n.unfrozen(ctx)
	if err != nil {
		n.shutting.Add(-1)
	}
	return err
}

// Shutdown takes the node out of the cluster in an orderly way. New connections, calls and messages
// for Servers and Handlers are turned away; functions and handlers that are running, or wait for a
// place of Config.MaxCalls, finish, Servers handle what they have received, what all these send
// goes out, then everything is closed. A call that a Server has left for later (NoReply) is not
// waited for: its caller gets the exit reason shutdown. While any function or handler runs, calls
// from processes of this node to functions, Handlers and Servers here are still served, since the
// running ones may wait for them. A cast to a Server of this node that no call follows may be
// dropped, and calls that another node makes on behalf of a running function are turned away. The
// context of a function ends when its caller's connection does. If ctx ends first the rest is cut
// off, and the error, which is ctx's, names what was running. A function, Handler or Server that
// calls Shutdown, other than on a goroutine of its own, is itself waited for, until ctx ends.
//
// At last each peer has a second to read what has gone out and to end its side, and another second
// whenever it has read some (where transport.Stream.OutstandingBytes tells); a peer that takes
// longer may lose what it has not read, which is no error: see Conn.Shutdown. Nor is it an error if
// a connection fails before ctx ends, with all that it had still to send: that ends as whenever a
// peer is lost.
func (n *Node) Shutdown(ctx context.Context) error {
	ctx = wait.Ending(ctx)
	if err := n.lastThaw(ctx); err != nil {
		return wrap("shutdown", n.Name(), err)
	}
	err := n.Unpublish()
	for _, l := range n.Listeners() {
		err = errors.Join(err, l.Close())
	}
	err = errors.Join(err, n.procs.drain(ctx))
	n.procs.closeAll(ctx)
	conns := n.connections()
	for _, c := range conns {
		if ferr := c.q.Flush(ctx); ferr != nil && ctx.Err() != nil {
			err = errors.Join(err, wrap("shutdown", c.peer.Name, ferr))
		}
	}
	var all sync.WaitGroup
	for _, c := range conns { // concurrently: a peer that does not answer delays no other
		all.Go(func() { c.byeWhileReads(ctx) })
	}
	all.Wait()
	return errors.Join(err, n.Close())
}
