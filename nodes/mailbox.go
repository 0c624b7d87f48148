package nodes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/inbox"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/internal/roster"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
)

// DefaultMailboxLimit is how many bytes the unread messages of a mailbox may take, if its options
// do not say otherwise.
const DefaultMailboxLimit = 64 << 20

// messageCost is how many bytes a message takes besides its terms, its place in the queue included.
const messageCost = int(unsafe.Sizeof(Message{})) + int(unsafe.Sizeof(inbox.Entry[*Message]{}))

// mailboxFull is the reason with which a full mailbox ends.
const mailboxFull = ei.Atom("mailbox_full")

// A Full says what a mailbox does when its limit is reached. Nothing is dropped from a mailbox that
// goes on.
type Full int

const (
	// FullBlock makes goroutines of the program on this node wait in Send. What peers send, and
	// what running functions send with the context that they were given, does not wait, since the
	// receiver may wait for an answer that comes behind it: it goes into the mailbox all the same,
	// up to Config.OverflowLimit; a warning in the log names the mailbox. When a peer has had its
	// share of that, it is not read until there is room, and whatever else it sends waits behind.
	// So once such mailboxes have held its connection for two seconds in all of the last ten, the
	// one that has most of that share ends as with FullExit, though it may receive all the time.
	FullBlock Full = iota
	// FullExit ends the mailbox with reason mailbox_full; links and monitors hear of it, and so do
	// the log, metrics.Hooks and Stats.
	FullExit
	// FullWait is FullBlock for a mailbox that may hold the connections of its senders, however
	// slow it is, as long as it receives: these are read as fast as it works. A mailbox ends only
	// when a message has waited for two seconds without finding room, and then it is the one that
	// has most of the peer's share, of whichever kind.
	FullWait
)

// MailboxOptions adjust a mailbox. The zero value is good.
type MailboxOptions struct {
	// Limit is how many bytes of memory the mailbox's unread messages may take. 0:
	// DefaultMailboxLimit. One message may exceed it when there is no other.
	//
	// Each message counts some 500 bytes and its encoded term. A message from another node counts its
	// whole frame, up to 4 MiB in a buffer whose size is a power of two, of 128 bytes at least.
	Limit int
	// Full says what happens at the limit: FullBlock, the zero value, FullExit or FullWait.
	Full Full
	// TrapExit turns exit signals of linked processes into messages (OpExit), like
	// process_flag(trap_exit, true).
	TrapExit bool
	// Priority lets the mailbox receive first what was sent with priority to an alias that it has made
	// for that (AliasPriority). Among themselves such messages stay in order. They may take as much
	// memory again as Limit says. Otherwise they are messages like any other.
	Priority bool
	// Parent is the process that has started this one, as with start_link. NewMailbox, Serve and
	// Handle link the two (see Mailbox.Link), and wait for that as long as the node lives. If the link
	// fails, there is no process.
	//
	// With TrapExit a Server still ends when its Parent does, or sends it an exit signal, as a
	// gen_server does. First it calls Server.Terminate. A Server that goes on in the place of a
	// restored one keeps that one's Parent, unless it is given another.
	Parent ei.Pid
	// Handover returns what the mailbox that goes on in this one's place in the new process is to get:
	// see Inherited. Freeze calls it, and everything stands still by then. So Handover must be quick,
	// must call no method of the node or its mailboxes, and must not wait for a goroutine that does.
	// An error, or a panic, ends the freeze. nil: nothing.
	Handover func() ([]byte, error)

	// the node's own, which cannot be killed: in OTP a new process would take its place
	lasting bool
}

// A Mailbox is a process of this node as others see it: it has a pid, receives messages, can be
// linked, monitored and registered, and ends with a reason. Its methods are safe for concurrent
// use.
type Mailbox struct {
	n      *Node
	pid    ei.Pid
	opts   MailboxOptions // Limit and Full are the inbox's
	origin origin
	born   int64       // when the process was made, in ns since 1970; 0: for a call
	traps  atomic.Bool // exit signals become messages; changes with mu held
	own    Handler     // takes the messages at once, of a process of the node's own; nil: the inbox does

	mu     sync.Mutex // guards what follows, unless said otherwise
	inbox  inbox.Inbox[*Message]
	bonds  bonds.Bonds            // links, monitors and aliases
	nodes  roster.Bonds[reported] // what it hears of connections
	served service                // of a Server, or a Handler
	moves
	names        []ei.Atom                         // guarded by processes.mu
	pendingCalls lazymap.Map[ei.Ref, *pendingCall] // its calls in progress
	label        ei.Raw                            // see SetLabel; nil: none
	over         wait.Latch                        // shut when the mailbox has ended
	why          ei.Term

	care atomic.Pointer[care] // what module sys has asked for; nil: nothing
}

// An origin is what a mailbox was made for, if that is not the program's own process.
type origin struct {
	private bool   // it belongs to a call
	over    *Conn  // over this connection
	ref     ei.Ref // the alias to which the call's reply goes; without words: none
	spawned *task  // of the function whose process it is: peers pay for all that is unread
}

// A moves is what a mailbox has to do with other processes of the operating system.
type moves struct {
	staged atomic.Bool // restored, and not started yet; set with mu held
	moved  bool        // the mailbox has ended because it goes on elsewhere: see hasMoved
	// restored, and waits for the mailbox that is to succeed it; guarded by processes.mu
	awaitsHeir bool
	succeeds   bool    // the mailbox succeeds a restored one
	inherited  *[]byte // what the Handover of the process before has returned
}

// NewMailbox makes a process. Close ends it. It waits while the node is frozen. If you start the
// node, call NewMailbox in Config.Setup or after Start: a process fixes the creation (ErrTooLate).
func (n *Node) NewMailbox(o *MailboxOptions) (*Mailbox, error) { return n.register("", nil, o) }

func (n *Node) newMailbox(h Handler, o *MailboxOptions, edit ...func(b *Mailbox)) (*Mailbox, error) {
	pid, err := n.NewPid()
	if err != nil {
		return nil, err
	}
	b := new(Mailbox)
	b.init(n, pid, h, o)
	for _, edit := range edit { // before anybody else sees it
		edit(b)
	}
	if err := b.enroll(); err != nil {
		return nil, err
	}
	return b, nil
}

// init makes a mailbox that is not on the table yet.
func (b *Mailbox) init(n *Node, pid ei.Pid, h Handler, o *MailboxOptions) {
	b.n, b.pid, b.own, b.served.b = n, pid, h, b
	if o != nil {
		b.opts = *o
		b.traps.Store(o.TrapExit)
	}
	b.inbox.Init(n.overflow, (*Message).payer, cmp.Or(b.opts.Limit, DefaultMailboxLimit), inbox.Full(b.opts.Full), b.origin.spawned != nil)
}

// enroll puts the mailbox on the table.
func (b *Mailbox) enroll() error {
	err := limit("MailboxOptions.Limit", &b.opts.Limit, DefaultMailboxLimit)
	if err == nil {
		if !b.origin.private {
			b.born = time.Now().UnixNano()
		}
		err = b.n.procs.add(b)
	}
	return wrap("new mailbox", "", err)
}

// newPrivate makes the process of a call, which may have an alias for the reply. It is not moved
// with the node.
func (n *Node) newPrivate(calls *Conn, alias ei.Ref) (*Mailbox, error) {
	return n.newMailbox(nil, nil, func(b *Mailbox) { b.origin = origin{private: true, over: calls, ref: alias} })
}

// initSpawned makes the process of a function. It is not moved with the node either.
func (b *Mailbox) initSpawned(k *task) error {
	pid, err := k.n.NewPid()
	if err != nil {
		return err
	}
	b.origin.spawned = k
	b.init(k.n, pid, nil, nil)
	return b.enroll()
}

// isMadeFor tells whether it is the process of a function that the peer has called, or spawned.
func (b *Mailbox) isMadeFor(peer string) bool {
	k := b.origin.spawned
	return k != nil && k.run.conn != nil && k.run.conn.Name() == peer
}

// SetLimit changes MailboxOptions.Limit and Full: for the process of a function, too, which has
// been made without options (MailboxOf). bytes may be 0, for DefaultMailboxLimit. It waits while
// the node is frozen, and fails only if bytes is negative. It is process_flag(max_heap_size, Size).
func (b *Mailbox) SetLimit(bytes int, full Full) error {
	if err := limit("the limit", &bytes, DefaultMailboxLimit); err != nil {
		return wrap("set limit", "", err)
	}
	b.lock()
	defer b.mu.Unlock()
	b.inbox.SetLimit(bytes, inbox.Full(full))
	return nil
}

// Inherited is what MailboxOptions.Handover returned in the process before; ok tells whether there
// was one: the mailbox goes on in the place of a restored one, or is one.
func (b *Mailbox) Inherited() (state []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inherited == nil {
		return nil, false
	}
	return *b.inherited, true
}

// stays tells whether the mailbox does not move with its node.
func (b *Mailbox) stays() bool { return b.origin.private || b.origin.spawned != nil }

// isNodes tells whether a process is the node's own.
func (b *Mailbox) isNodes() bool { return b.own != nil || b.origin.private || b.opts.lasting }

// Pid is the mailbox's process identifier.
func (b *Mailbox) Pid() ei.Pid { return b.pid }

// Node is the node whose process the mailbox is.
func (b *Mailbox) Node() *Node { return b.n }

// TrapExit says whether exit signals become messages from now on (see MailboxOptions.TrapExit), and
// returns whether they did before. It waits while the node is frozen. It is
// process_flag(trap_exit, Boolean).
func (b *Mailbox) TrapExit(on bool) (was bool) {
	b.lock()
	defer b.mu.Unlock()
	return b.traps.Swap(on)
}

// SetLabel describes the process for whoever looks at it: a term that need not be unique, in place
// of a name; nil takes the label away. It moves with the node. The errors are those of ei.Append.
// SetLabel waits while the node is frozen. It is proc_lib:set_label/1 of OTP 27.
func (b *Mailbox) SetLabel(label any) error {
	var raw ei.Raw
	if label != nil {
		var err error
		if raw, err = ei.Append(nil, label); err != nil {
			return wrap("label", "", err)
		}
	}
	b.lock()
	defer b.mu.Unlock()
	b.label = raw
	return nil
}

// Label is what SetLabel has set; nil if there is none. It is proc_lib:get_label/1.
func (b *Mailbox) Label() ei.Term {
	b.mu.Lock()
	raw := b.label
	b.mu.Unlock()
	if raw == nil {
		return nil
	}
	label, _ := raw.Decode()
	return label
}

// Done is closed when the mailbox has ended.
func (b *Mailbox) Done() <-chan struct{} { return b.over.Done() }

// Err is why the mailbox ended, an *ExitError, or ErrMoved; nil while it lives.
func (b *Mailbox) Err() error {
	switch {
	case !b.ended():
		return nil
	case b.hasMoved():
		return ErrMoved
	}
	return &ExitError{b.pid, b.why}
}

// Receive returns the oldest message. It waits until there is one, ctx ends, or the mailbox has
// ended, which drops what is unread: in this last case the error wraps an *ExitError. With
// transport.NoWait it does not wait: os.ErrDeadlineExceeded. For a selective receive see the
// example. The mailbox of a Handler or a Server gets no messages: their functions do.
//
// The message's Op is dist.OpSend or dist.OpRegSend for a term, nodeup and nodedown among them;
// dist.OpAliasSend for one that was sent to the alias Ref of the mailbox;
// dist.OpExit for the end of a linked process, or an exit signal (both with TrapExit), and
// dist.OpMonitorPExit for the end of a monitored one: Reason.Decode() says why. These two have no
// Payload, nor has dist.OpSpawnReply, whose Result answers a SPAWN_REQUEST: see SpawnRequest. Any
// peer can send one that answers nothing: skip it if its Ref is not that of a request of yours.
func (b *Mailbox) Receive(ctx context.Context) (*Message, error) { return b.receive(ctx, nil) }

// receive is Receive that does not wait beyond stop, if that is not nil: ErrClosed.
func (b *Mailbox) receive(ctx context.Context, stop <-chan struct{}) (*Message, error) {
	for {
		if m := b.take(); m != nil {
			return m, nil
		}
		if transport.IsNoWait(ctx) && !b.ended() {
			return nil, wrap("receive", "", os.ErrDeadlineExceeded)
		}
		if !b.awaitsMessage(ctx, stop) {
			if err := ctx.Err(); err != nil {
				return nil, wrap("receive", "", err)
			}
			if m := b.take(); m != nil { // both have come
				return m, nil
			}
			return nil, wrap("receive", "", ErrClosed)
		}
		if b.ended() {
			if m := b.take(); m != nil { // a call's answer, just before: see dropUnread
				return m, nil
			}
			return nil, wrap("receive", "", fmt.Errorf("%w: %w", ErrClosed, b.Err()))
		}
	}
}

// awaitsMessage waits until there may be something to take, or the mailbox has ended; false if ctx
// has ended, or stop is closed. A function has no place meanwhile: the message may come from
// another one.
func (b *Mailbox) awaitsMessage(ctx context.Context, stop <-chan struct{}) bool {
	t := runOf(ctx)
	t.beginWait()
	defer t.endWait()
	select {
	case <-b.comes():
	case <-b.Done():
	case <-ctx.Done():
		return false
	case <-stop:
		return false
	}
	return true
}

// comes holds a token while there is something to receive, or there may be.
func (b *Mailbox) comes() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inbox.Comes()
}

// All yields messages until ctx ends, or the node, or Close ends the mailbox: these end the loop
// without an error, and ctx.Err and Mailbox.Err say which it was. In a Func, or a Server's
// function, with its own ctx, the loop ends as soon as the node stops (Node.Stopping), after what
// has come before: Shutdown waits for the function. Under transport.NoWait it ends after what is
// there. What goes wrong is an error, in the last pair: an *ExitError of a mailbox that has ended
// otherwise.
func (b *Mailbox) All(ctx context.Context) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		stop, stops, left := loopStop(ctx, b), false, 0
		for {
			if !stops {
				select {
				case <-stop:
					stops, left = true, b.queued() // others may go on to send
				default:
				}
			}
			if stops && left == 0 {
				return
			}
			left--
			m, err := b.receive(ctx, stop)
			if err != nil && b.isOver(err) || !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// loopStop is closed when a loop over messages with ctx is to end, lest Shutdown waits for what
// runs it; nil: it ends with ctx and the mailbox only.
func loopStop(ctx context.Context, b *Mailbox) <-chan struct{} {
	switch t := runOf(ctx); {
	case t == nil:
		return nil
	case t.task != nil:
		return t.task.n.Stopping()
	}
	return b.n.Stopping()
}

// queued is how many messages nobody has received yet.
func (b *Mailbox) queued() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inbox.Len()
}

// isOver tells whether the error of a Receive says only that the time has come: ctx has ended, or
// the mailbox with the node, or by Close.
func (b *Mailbox) isOver(err error) bool {
	var exit *ExitError
	return !errors.As(err, &exit) || exit.Reason == ei.Atom("normal") ||
		exit.Reason == ei.Atom("shutdown") && (b.n.Err() != nil || b.n.State() >= StateStopping)
}

func (b *Mailbox) take() *Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.takeLocked()
}

func (b *Mailbox) takeLocked() *Message {
	if b.isHeld() {
		return nil
	}
	m, ok := b.inbox.Take()
	if ok && m == b.served.asked {
		b.served.asked = nil
	}
	return m
}

// awaitMessage waits until there is something to take; false when the mailbox has ended.
func (b *Mailbox) awaitMessage() bool {
	for !b.ended() {
		if b.hasMessage() {
			return true
		}
		select {
		case <-b.comes():
		case <-b.Done():
		}
	}
	return false
}

// hasMessage tells whether there is something to take.
func (b *Mailbox) hasMessage() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.inbox.Has() && !b.isHeld()
}

func (b *Mailbox) ended() bool { return b.over.IsShut() }

// A mailbox that is held neither gives nor takes messages: its node is frozen, or it is staged.
func (b *Mailbox) isHeld() bool { return b.staged.Load() || b.n.life.IsFrozen() && !b.ended() }

// lock locks the mailbox for a change, which waits while the node is frozen.
func (b *Mailbox) lock() { _ = b.lockBefore(context.Background(), life.Frozen) }

// lockBefore is lock for a change that waits from phase p on, until ctx ends. A mailbox that has
// ended does not move.
func (b *Mailbox) lockBefore(ctx context.Context, p life.Phase) error {
	return b.n.life.Lock(ctx, &b.mu, p, b.ended)
}

// hasMoved tells whether the mailbox has ended because it goes on elsewhere, as a rule in another
// process.
func (b *Mailbox) hasMoved() bool { return b.ended() && b.moved }

// caredFor is the mailbox's care, made if need be.
func (b *Mailbox) caredFor() *care {
	if b.care.Load() == nil {
		b.care.CompareAndSwap(nil, new(care))
	}
	return b.care.Load()
}

// suspend has the process take nothing but orders, or everything again.
func (b *Mailbox) suspend(is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if is {
		b.inbox.Only(func(m *Message) bool { return otp.ReadRequest(m.Payload).Kind == otp.System || b.isOfParent(m) })
	} else {
		b.inbox.Only(nil)
	}
}

// isGoneFor tells whether the process has ended as another one sees it; b.mu is held.
func (b *Mailbox) isGoneFor(pid ei.Pid) bool {
	return b.ended() || b.served.parted && !b.n.isHere(b.n.scopeOf(pid))
}
