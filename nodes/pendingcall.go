package nodes

import (
	"context"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// An pending call is a call that a mailbox makes. The server sees the mailbox's pid, and may link
// it, monitor it and remember it; so the reply comes to that pid. It is recognised by its
// reference.
type pendingCall struct {
	by     *Mailbox
	ref    ei.Ref
	giveUp context.CancelFunc
	// the call's own mailbox, where the reply goes; nil: the request is not out; guarded by by.mu
	box *Mailbox
}

// Call makes a request to a process, like gen_server:call, and returns its reply. It is Node.Call,
// except that the mailbox is the caller: the server sees its pid. The reply never appears among the
// mailbox's messages, even while a Receive is in progress; a reply that comes after Call has
// returned is dropped. When the mailbox ends, so does the call: the error is Err's.
func (b *Mailbox) Call(ctx context.Context, to ei.Pid, request any) (ei.Term, error) {
	t, err := b.callAs(ctx, target{node: string(to.Node), pid: to}, request)
	return t, wrap("call", string(to.Node), err)
}

// CallName is Call to the process that has a registered name on a node: gen_server:call({Name,
// Node}, Request). It waits as Call does and returns the same errors: a name that no process has is
// an *ExitError that is ErrNoProc.
func (b *Mailbox) CallName(ctx context.Context, node, name string, request any) (ei.Term, error) {
	t, err := b.callAs(ctx, target{node: node, name: ei.Atom(name)}, request)
	return t, wrap("call "+name+" at", node, err)
}

func (b *Mailbox) callAs(ctx context.Context, to target, request any) (ei.Term, error) {
	ref, err := b.n.newCallRef()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a := &pendingCall{by: b, ref: ref, giveUp: cancel}
	if err := b.beginCall(a); err != nil {
		return nil, err
	}
	defer b.forgetCall(a) // also when the request's AppendTerm panics
	t, err := b.n.call(ctx, to, request, nil, a)
	if err != nil && b.ended() {
		err = b.Err()
	}
	return t, err
}

func (b *Mailbox) beginCall(a *pendingCall) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended() {
		return b.Err()
	}
	put(&b.pendingCalls, a.ref, a)
	return nil
}

func (b *Mailbox) forgetCall(a *pendingCall) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pendingCalls, a.ref)
}

// receiveReply makes b the mailbox that gets the reply.
func (b *Mailbox) receiveReply(a *pendingCall) {
	a.by.mu.Lock()
	defer a.by.mu.Unlock()
	a.box = b
}

// answersCall tells whether a message answers a call of this node, even if it comes too late.
func (n *Node) answersCall(m *Message) bool {
	ref, ok := m.Ref, m.Op == dist.OpMonitorPExit
	if !ok {
		ref, ok = otp.ReplyTag(m.Payload)
	}
	if !ok || ref.ID[2]&callBit == 0 {
		return false
	}
	name, creation, err := n.identity()
	return err == nil && ref.Node == name && ref.Creation == creation
}
