package nodes

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/meter"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// ERPC calls a function on a node, connecting to it if need be: erpc:call(Node, Mod, Fun, Args). A
// process of that node runs the function; its result is ERPC's. Exceptions of the function, and
// what else becomes of it, are an *ERPCError, of which errors.As makes a *Raise or an *ExitError. A
// node that cannot be connected to, or is lost, is ErrNoConnection; one that makes no processes for
// others (a C node) is errors.ErrUnsupported; an argument that is no term is an *ei.EncodeError. If
// this node goes on in another program meanwhile, the error is ErrMoved. ERPC waits for the result
// until ctx ends: the function then goes on (in a node of Go its context ends), and what becomes of
// it is dropped here. If the node is this one, the function is one of those that are exposed. What
// the function prints goes to ctx's group leader (GroupLeaderOf); without one it is dropped. If you
// start the node, do so before the first call: a call fixes the creation (ErrTooLate).
func (n *Node) ERPC(ctx context.Context, node, mod, fun string, args ...any) (ei.Term, error) {
	t, err := termOf(n.erpcTo(ctx, node, remoteFunc{mod, fun, args}))
	return t, wrap(callOp(mod, fun, args), node, err)
}

// ERPC calls a function on a node: erpc:call(Node, Mod, Fun, Args). It is Node.ERPC, with the same
// errors, except that the mailbox is the caller: the function's process has it as its parent. When
// the mailbox ends, so does the call: the error is Err's.
func (b *Mailbox) ERPC(ctx context.Context, node, mod, fun string, args ...any) (ei.Term, error) {
	t, err := termOf(b.erpcTo(ctx, node, remoteFunc{mod, fun, args}))
	return t, wrap(callOp(mod, fun, args), node, err)
}

// ERPCAs is Node.ERPC, or Mailbox.ERPC. The result is stored in an R, as CallAs does with a reply:
//
//	stock, err := nodes.ERPCAs[int](ctx, n, "shop@host", "Elixir.Shop", "stock", sku)
//
// It waits as they do, and returns the same errors.
func ERPCAs[R any](ctx context.Context, caller Caller, node, mod, fun string, args ...any) (R, error) {
	c, err := caller.erpcTo(ctx, node, remoteFunc{mod, fun, args})
	return replyAs[R](c, callOp(mod, fun, args), node, err)
}

// ERPCCast has a node run a function whose result nobody wants: erpc:cast(Node, Mod, Fun, Args). It
// waits as Mailbox.Send does, not for the function, and returns the same errors; a node that makes
// no processes for others is errors.ErrUnsupported.
func (n *Node) ERPCCast(ctx context.Context, node, mod, fun string, args ...any) error {
	return wrap("cast "+mfa(mod, fun, len(args))+" to", node, n.erpcCast(ctx, node, remoteFunc{mod, fun, args}))
}

func callOp(mod, fun string, args []any) string {
	return "call " + mfa(mod, fun, len(args)) + " at"
}

// A remoteFunc is a function to be called, with its arguments: a list.
type remoteFunc struct {
	mod, fun string
	args     any
}

// execute is the function of erpc that calls f; res marks the result.
func (f remoteFunc) execute(res ei.Ref) process {
	return process{
		module: "erpc", function: "execute_call", arity: 4, options: otp.SpawnOptions{Monitor: true, Quiet: true},
		args: []any{res, ei.Atom(f.mod), ei.Atom(f.fun), f.args},
	}
}

func (n *Node) erpcTo(ctx context.Context, node string, f remoteFunc) (ei.Cursor, error) {
	return n.erpc(ctx, node, f, nil)
}

func (b *Mailbox) erpcTo(ctx context.Context, node string, f remoteFunc) (reply ei.Cursor, err error) {
	err = b.inItsName(ctx, false, func(ctx context.Context, a *pendingCall) error {
		reply, err = b.n.erpc(ctx, node, f, a)
		return err
	})
	return reply, err
}

// erpc is erpc:call; a is the pending call of the mailbox that calls. The cursor is at the result.
func (n *Node) erpc(ctx context.Context, node string, f remoteFunc, a *pendingCall) (reply ei.Cursor, err error) {
	t := runOf(ctx)
	t.beginWait()
	defer t.endWait()
	ctx, r := n.meters.measureMade(ctx, metrics.KindFunction, node, f.mod, f.fun)
	defer func() { endMade(r, err) }()
	c, err := n.beginERPC(ctx, node, f, a)
	if err != nil {
		return reply, err
	}
	defer c.end()
	return c.awaitResult(ctx)
}

// beginERPC is erpc up to the result: the request is out.
func (n *Node) beginERPC(ctx context.Context, node string, f remoteFunc, a *pendingCall) (c calling, err error) {
	c, err = n.newCalling(ctx, node, nil, a, false)
	if err == nil {
		err = c.spawn(ctx, node, f.execute(c.ref))
	}
	if refused := new(SpawnError); errors.As(err, &refused) {
		err = newERPCError(otp.Refused(refused.Reason))
	}
	return c, err
}

func newERPCError(e *otp.Exception) error { return &ERPCError{Class(e.Class), e.Reason} }

// awaitResult waits for the end of the process that runs the function.
func (c *calling) awaitResult(ctx context.Context) (reply ei.Cursor, err error) {
	for {
		m, err := c.box.receiveOver(ctx, c.over)
		switch {
		case err != nil:
			return reply, c.failed(err)
		case m.Ref != c.ref:
		case m.Op == dist.OpSpawnReply:
			_, reason, err := otp.SpawnResult(m.Result)
			if err == nil && reason == nil { // it does not monitor
				reason = notsup
			}
			if err == nil {
				err = newERPCError(otp.Refused(reason))
			}
			return reply, err
		case m.Op == dist.OpMonitorPExit:
			value, exception, err := otp.ERPCResult(m.Reason, c.ref)
			if exception != nil {
				err = newERPCError(exception)
			}
			return value, err
		}
		c.n.faults.unwanted(c.box, m)
	}
}

func (n *Node) erpcCast(ctx context.Context, node string, f remoteFunc) error {
	ref, err := n.newCallRef()
	if err != nil {
		return err
	}
	c := calling{n: n, ref: ref}
	if node != n.Name() {
		if c.over, err = n.connection(ctx, node); err != nil {
			return err
		}
		c.from = c.over.l.Self() // nobody waits for the answer
	} else if c.from, err = n.NewPid(); err != nil {
		return err
	}
	return c.failed(c.request(ctx, node, process{
		module: "erpc", function: "execute_cast", arity: 3, options: otp.SpawnOptions{Quiet: true},
		args: []any{ei.Atom(f.mod), ei.Atom(f.fun), f.args},
	}))
}

// An Answer is what one of several calls has given: a value, or an error.
type Answer[R any] struct {
	Value R
	Err   error
}

// Multicall calls a function on several nodes at once, as ERPC does, and yields each node with its
// answer, in the order in which the answers come. The calls begin with the loop; those that are
// still in progress when it is left are given up, as if ctx had ended. When ctx ends, the nodes
// that have not answered have its error, so that each node of the list is yielded once. It is
// erpc:multicall(Nodes, Mod, Fun, Args).
//
//	for node, answer := range n.Multicall(ctx, n.Peers(), "erlang", "memory", ei.Atom("total")) { ... }
func (n *Node) Multicall(ctx context.Context, nodes []string, mod, fun string, args ...any) iter.Seq2[string, Answer[ei.Term]] {
	return MulticallAs[ei.Term](ctx, n, nodes, mod, fun, args...)
}

// MulticallAs is Multicall with results that are stored in an R, as ERPCAs does.
func MulticallAs[R any](
	ctx context.Context, caller Caller, nodes []string, mod, fun string, args ...any,
) iter.Seq2[string, Answer[R]] {
	type answered struct {
		node string
		Answer[R]
	}
	return func(yield func(string, Answer[R]) bool) {
		list, wrong := caller.encode().Append(nil, args) // once, and here, where it may panic
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		answers := make(chan answered, len(nodes))
		for _, node := range nodes {
			go func() {
				c, err := ei.Cursor{}, wrong
				if err == nil {
					c, err = caller.erpcTo(ctx, node, remoteFunc{mod, fun, ei.Raw(list)})
				}
				v, err := replyAs[R](c, callOp(mod, fun, args), node, err)
				answers <- answered{node, Answer[R]{v, err}}
			}()
		}
		for range nodes {
			if a := <-answers; !yield(a.node, a.Answer) {
				return
			}
		}
	}
}

// Multicast is ERPCCast to several nodes at once. Its error joins those of all nodes. It waits
// until all casts are out, or have failed. It is erpc:multicast(Nodes, Mod, Fun, Args).
func (n *Node) Multicast(ctx context.Context, nodes []string, mod, fun string, args ...any) error {
	op := "cast " + mfa(mod, fun, len(args)) + " to"
	list, err := n.encode().Append(nil, args)
	if err != nil {
		return wrap(op, "", err)
	}
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, node := range nodes {
		wg.Go(func() { errs[i] = wrap(op, node, n.erpcCast(ctx, node, remoteFunc{mod, fun, ei.Raw(list)})) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// A Request is a call that is in progress: its answer is taken later, with Wait. Its methods are
// safe for concurrent use. A request that nobody waits for lasts until the answer has come, the
// process or the connection has ended, or Abandon is called; a move of the node ends it with
// ErrMoved.
type Request struct {
	c        calling
	op, node string
	cancel   context.CancelFunc
	done     chan struct{}
	reply    ei.Cursor // with err: valid once done is closed
	err      error

	mu       sync.Mutex
	awaiting []chan<- *Request // who is to hear of the answer
}

// ERPCRequest begins a call as ERPC makes it, and returns when the request is out, for which it
// waits as Mailbox.Send does; so long ctx counts. The errors until then are ERPC's; those of the
// call itself come with Request.Wait. It is erpc:send_request(Node, Mod, Fun, Args).
func (n *Node) ERPCRequest(ctx context.Context, node, mod, fun string, args ...any) (*Request, error) {
	ctx, r := n.meters.measureMade(ctx, metrics.KindFunction, node, mod, fun)
	c, err := n.beginERPC(ctx, node, remoteFunc{mod, fun, args}, nil)
	return n.newRequest(r, c, callOp(mod, fun, args), node, (*calling).awaitResult, err)
}

// SendRequest begins a call as Call makes it, and returns when the request is out, for which it
// waits as Mailbox.Send does; so long ctx counts. The process handles the requests that one
// goroutine sends to it in their order. The errors are Call's; those of the call itself come with
// Request.Wait. It is gen_server:send_request(Pid, Request).
func (n *Node) SendRequest(ctx context.Context, to ei.Pid, request any) (*Request, error) {
	node := string(to.Node)
	return n.sendRequestTo(ctx, bonds.Target{Node: node, Pid: to}, request, "call")
}

// SendRequestName is SendRequest to the process that has a registered name on a node:
// gen_server:send_request({Name, Node}, Request). It waits as SendRequest does, and has its errors.
func (n *Node) SendRequestName(ctx context.Context, node, name string, request any) (*Request, error) {
	return n.sendRequestTo(ctx, bonds.Target{Node: node, Name: ei.Atom(name)}, request, "call "+name+" at")
}

func (n *Node) sendRequestTo(ctx context.Context, to bonds.Target, request any, op string) (*Request, error) {
	ctx, r := n.measureCall(ctx, to, request)
	c, err := n.beginCall(ctx, to, request, nil, nil)
	return n.newRequest(r, c, op, to.Node, (*calling).awaitReply, err)
}

func (n *Node) newRequest(
	measured *meter.Run, c calling, op, node string, await func(*calling, context.Context) (ei.Cursor, error), err error,
) (*Request, error) {
	if err != nil {
		endMade(measured, err)
		return nil, wrap(op, node, err)
	}
	r := &Request{c: c, op: op, node: node, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	began := n.background(func() {
		defer cancel()
		r.reply, r.err = await(&r.c, ctx)
		endCall(measured, r.reply, r.err)
		r.c.end()
		r.mu.Lock()
		defer r.mu.Unlock()
		close(r.done)
		for _, c := range r.awaiting {
			c <- r
		}
		r.awaiting = nil
	})
	if !began {
		cancel()
		c.end()
		endMade(measured, ErrClosed)
		return nil, wrap(op, node, n.gone())
	}
	return r, nil
}

// Node is the name of the node that was called.
func (r *Request) Node() string { return r.node }

// Done is closed when the answer, or an error, is there: Wait does not wait any more.
func (r *Request) Done() <-chan struct{} { return r.done }

// Wait returns the answer, or the error of the call: what ERPC, or Call, would return. It waits for
// it until ctx ends; the error is then ctx's, and the call goes on. Wait may be called again, and
// gives the same. It is erpc:wait_response/2, gen_server:wait_response/2.
func (r *Request) Wait(ctx context.Context) (ei.Term, error) {
	t, err := termOf(r.wait(ctx))
	return t, wrap(r.op, r.node, err)
}

// WaitAs is Request.Wait for an answer that is stored in an R, as CallAs does with a reply.
func WaitAs[R any](ctx context.Context, r *Request) (R, error) {
	c, err := r.wait(ctx)
	return replyAs[R](c, r.op, r.node, err)
}

func (r *Request) wait(ctx context.Context) (ei.Cursor, error) {
	if _, err := awaitFrom(ctx, r.done); err != nil {
		return ei.Cursor{}, err
	}
	return r.reply, r.err
}

// awaitFrom receives from a channel; ctx counts only if there is nothing yet.
func awaitFrom[T any](ctx context.Context, c <-chan T) (v T, err error) {
	t := runOf(ctx)
	t.beginWait()
	defer t.endWait()
	select {
	case v = <-c:
		return v, nil
	default:
	}
	select {
	case v = <-c:
		return v, nil
	case <-wait.Cancelled(ctx):
		return v, wait.Err(ctx)
	}
}

// Abandon gives the call up: an answer that is still to come is dropped, and Wait returns
// context.Canceled. It does not wait.
func (r *Request) Abandon() { r.cancel() }

// Answered yields requests when their answers are there, in the order in which they come, until all
// have been yielded, or ctx ends, after which ctx.Err() tells the two apart. Wait does not wait for
// one that was yielded. Those that were not go on. It is what collections of request identifiers
// are for in erpc and gen_server (reqids_add/3).
//
//	for r := range nodes.Answered(ctx, requests...) {
//		v, err := r.Wait(ctx)
//		...
//	}
func Answered(ctx context.Context, requests ...*Request) iter.Seq[*Request] {
	return func(yield func(*Request) bool) {
		answered := make(chan *Request, len(requests))
		for _, r := range requests {
			r.tell(answered)
			defer r.stopTelling(answered)
		}
		for range requests {
			if r, err := awaitFrom(ctx, answered); err != nil || !yield(r) {
				return
			}
		}
	}
}

// tell sends the request to c, which has room for it, when the answer is there.
func (r *Request) tell(c chan<- *Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.done:
		c <- r
	default:
		r.awaiting = append(r.awaiting, c)
	}
}

func (r *Request) stopTelling(c chan<- *Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awaiting = slices.DeleteFunc(r.awaiting, func(other chan<- *Request) bool { return other == c })
}
