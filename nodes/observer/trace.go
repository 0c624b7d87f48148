package observer

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/groupleader"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// Nothing is traced here, but tools that trace are to go on without. dbg at the peer waits for the
// process of dbg:do_relay, and etop, which traces unless it is told not to (that of OTP 27 always),
// then connects to a trace port: by TCP, to the host that net_adm:localhost/0 says and a port of
// its own choice, and ends if it cannot. No port is opened here for that: others could come there,
// and etop perhaps not. The trace port is at etop's own node, on the loopback interface, as long as
// it traces; nothing ever comes out of it.

// askTime is how long the peer's node may take to answer what is asked for its tools.
const askTime = 5 * time.Second

// asks tells whether questions may be asked at the node that calls: a program of the C library gets
// none.
func asks(ctx context.Context) bool {
	c := nodes.ConnOf(ctx)
	return c != nil && c.Peer().Announced.Has(dist.FlagSpawn)
}

// localhost is net_adm:localhost/0: the host in the node's name. For etop it is that of the trace
// port.
func (b *observer) localhost(ctx context.Context) ei.Term {
	if b.isOfEtop(ctx) {
		return otp.Charlist(loopback)
	}
	_, host, _ := strings.Cut(b.n.Name(), "@")
	return otp.Charlist(host)
}

const loopback = "127.0.0.1"

// isOfEtop tells whether etop calls, by the stack of its process.
func (b *observer) isOfEtop(ctx context.Context) bool {
	caller := nodes.CallerOf(ctx)
	if !asks(ctx) || string(caller.Node) != b.asker(ctx) {
		return false
	}
	ctx, cancel := context.WithTimeout(nodes.NoConnect(ctx), askTime)
	defer cancel()
	info, err := b.n.RPC(ctx, string(caller.Node), "erlang", "process_info", caller, ei.Atom("current_stacktrace"))
	if t, ok := info.(ei.Tuple); ok && err == nil && len(t) == 2 {
		stack, _ := ei.Elements(t[1])
		for _, frame := range stack {
			if f, ok := frame.(ei.Tuple); ok && len(f) > 0 && f[0] == ei.Atom("etop_tr") {
				return true
			}
		}
	}
	return false
}

// relay is dbg:do_relay/2, and since OTP 27 /3. to is a process, or {Type, Data} of a tracer.
func (b *observer) relay(ctx context.Context, parent ei.Pid, to ei.Term, session ...ei.Term) error {
	nodes.EndAtStop(ctx)
	self := nodes.MailboxOf(ctx)
	self.TrapExit(true)
	if port, ok := tracePort(to); ok && asks(ctx) && string(parent.Node) == b.asker(ctx) {
		holder, err := b.openTracePort(ctx, port)
		b.tellTracer(ctx, port, err)
		defer func() {
			ctx, cancel := context.WithTimeout(nodes.NoConnect(context.WithoutCancel(ctx)), askTime)
			defer cancel()
			_ = self.SendExit(ctx, holder, ei.Atom("shutdown")) // an error: it has ended with the connection
		}()
	}
	if err := b.send(ctx, parent, append(ei.Tuple{ei.Atom("started"), self.Pid()}, session...)); err != nil {
		return err
	}
	for {
		m, err := self.Receive(ctx) // the end of the parent, which is linked
		if err != nil || m.Payload == nil && m.From == parent {
			return nil
		}
		m.Release()
	}
}

// tracePort is the port of {port, dbg:trace_port(ip, {Port, Size})}: a fun, whose free variables
// are Size and Port.
func tracePort(to ei.Term) (port ei.Int, ok bool) {
	t, _ := to.(ei.Tuple)
	if len(t) != 2 || t[0] != ei.Atom("port") {
		return 0, false
	}
	f, ok := t[1].(ei.Fun)
	if !ok || f.Module != "dbg" || len(f.Free) != 2 {
		return 0, false
	}
	_, isSize := f.Free[0].(ei.Int)
	port, ok = f.Free[1].(ei.Int)
	return port, ok && isSize && 0 < port && port < 1<<16
}

// openTracePort has the node that calls listen to itself, for as long as holder lives: a process of
// that node, which is linked with this one.
func (b *observer) openTracePort(ctx context.Context, port ei.Int) (holder ei.Pid, err error) {
	ctx, cancel := context.WithTimeout(nodes.NoConnect(ctx), askTime)
	defer cancel()
	node := b.asker(ctx)
	if holder, err = nodes.MailboxOf(ctx).SpawnLink(ctx, node, "timer", "sleep", ei.Atom("infinity")); err != nil {
		return holder, err
	}
	// case gen_tcp:listen(Port, Options) of
	//	{ok, L} -> gen_tcp:controlling_process(L, Holder);
	//	E -> E
	// end
	listens, err := ei.Parse(`{'case',1,{call,1,{remote,1,{atom,1,gen_tcp},{atom,1,listen}},[{var,1,'Port'},{var,1,'Options'}]},[
		{clause,1,[{tuple,1,[{atom,1,ok},{var,1,'L'}]}],[],
			[{call,1,{remote,1,{atom,1,gen_tcp},{atom,1,controlling_process}},[{var,1,'L'},{var,1,'Holder'}]}]},
		{clause,1,[{var,1,'E'}],[],[{var,1,'E'}]}]}`)
	if err != nil {
		return holder, err
	}
	options := ei.List{pair("ip", ei.Tuple{ei.Int(127), ei.Int(0), ei.Int(0), ei.Int(1)}), pair("reuseaddr", ei.Atom("true"))}
	bindings := ei.List{pair("Holder", holder), pair("Options", options), pair("Port", port)}
	result, err := b.n.RPC(ctx, node, "erl_eval", "expr", listens, bindings)
	if err != nil {
		return holder, err
	}
	if t, ok := result.(ei.Tuple); !ok || len(t) != 3 || t[1] != ei.Atom("ok") { // {value, ok, Bindings}
		return holder, fmt.Errorf("%s: %s", loopback, ei.Brief(result, 100))
	}
	return holder, nil
}

// tellTracer says to the tracer's user what there is to expect.
func (b *observer) tellTracer(ctx context.Context, port ei.Int, err error) {
	leader, ok := nodes.GroupLeaderOf(ctx).(ei.Pid)
	if !ok {
		return
	}
	text := fmt.Sprintf("%s is no BEAM and traces nothing: run times are 0\n", b.n.Name())
	if err != nil {
		b.n.Logger().Info("no trace port at the node of a tracer", "peer", b.asker(ctx), "port", int(port), "error", err)
		text = fmt.Sprintf("%s is no BEAM and traces nothing, and port %d, which stands for its trace port here, cannot be opened: "+
			"for etop, choose another one by {port, Port}\n", b.n.Name(), port)
	}
	ctx, cancel := context.WithTimeout(nodes.NoConnect(ctx), askTime)
	defer cancel()
	_, _ = io.WriteString(groupleader.NewDevice(ctx, b.n, leader), text) // an error: nobody is there to read it
}
