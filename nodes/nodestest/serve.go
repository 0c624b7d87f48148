package nodestest

import (
	"context"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// A Process is a Server alone: what it is asked, and what it answers, is encoded and decoded as if
// it came from another node, but there is none. It ends with the test.
type Process struct {
	// Mailbox is the process itself: its end, its label, what it links and monitors.
	*nodes.Mailbox
	t      testing.TB
	caller *nodes.Mailbox
}

// Serve runs a Server, in a process of a node that nobody sees.
func Serve(t testing.TB, s nodes.Server, edit ...func(o *nodes.MailboxOptions)) *Process {
	t.Helper()
	node := New(t).Node("server")
	o := &nodes.MailboxOptions{}
	for _, f := range edit {
		f(o)
	}
	box, err := node.Serve("", s, o)
	if err != nil {
		t.Fatalf("nodestest: a Server does not start: %v", err)
	}
	caller, err := node.NewMailbox(nil)
	if err != nil {
		t.Fatalf("nodestest: %v", err)
	}
	return &Process{box, t, caller}
}

// Call is gen_server:call: it makes a request, of a term (see Term) or any Go value, and stores the
// reply in an R, as nodes.CallAs does, with the same errors. It waits for 5 s, as Erlang does.
func Call[R any](p *Process, request any) (R, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), callLimit)
	defer cancel()
	r, err := p.Node().SendRequest(ctx, p.Pid(), request)
	if err != nil {
		var none R
		return none, err
	}
	return nodes.WaitAs[R](ctx, r)
}

// Cast is gen_server:cast. The Server has dealt with it before it answers a later Call.
func (p *Process) Cast(request any) { p.Tell(ei.T("$gen_cast", request)) }

// Tell sends a message, which the Server's Info gets. The Server has dealt with it before it
// answers a later Call.
func (p *Process) Tell(message any) {
	p.t.Helper()
	if err := p.caller.Send(p.t.Context(), p.Pid(), message); err != nil {
		p.t.Fatalf("nodestest: send to a Server: %v", err)
	}
}
