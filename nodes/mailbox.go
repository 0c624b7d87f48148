package nodes

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/wait"
	"github.com/cnode-go/cnode/transport"
)

// DefaultMailboxLimit is how many bytes the unread messages of a mailbox may take, if its options
// do not say otherwise.
const DefaultMailboxLimit = 64 << 20

// messageCost is how many bytes a message takes besides its terms, its place in the queue included.
const messageCost = int(unsafe.Sizeof(Message{})) + 24

// mailboxFull is the reason with which a full mailbox ends.
const mailboxFull = ei.Atom("mailbox_full")

// keepQueue is the longest queue, in messages, whose memory a mailbox keeps once it is empty.
const keepQueue = 4096

// A Full says what a mailbox does when its limit is reached. Nothing is ever dropped silently.
type Full int

const (
	// FullBlock makes goroutines of the program on this node wait in Send. What peers send, and
	// what running functions send with the context that they were given, does not wait, since the
	// receiver may wait for an answer that comes behind it: it goes into the mailbox all the same,
	// up to Config.OverflowLimit; a warning in the log names the mailbox. When a peer has had its
	// share of that, it is not read for up to two seconds; then the mailbox that has most of that
	// share ends as with FullExit.
	FullBlock Full = iota
	// FullExit ends the mailbox with reason mailbox_full; links and monitors hear of it.
	FullExit
)

// MailboxOptions adjust a mailbox. The zero value is good.
type MailboxOptions struct {
	// Limit is how many bytes of memory its unread messages may take; 0 is DefaultMailboxLimit. One
	// message may exceed it when there is no other. Each counts 440 bytes and its encoded term; if
	// it is from another node, its whole frame, up to 4 MiB in a buffer whose size is a power of
	// two, of 128 bytes at least.
	Limit int
	// Full says what happens at the limit.
	Full Full
	// TrapExit turns exit signals of linked processes into messages (OpExit), like
	// process_flag(trap_exit, true).
	TrapExit bool
	// Priority lets the mailbox receive first what was sent with priority to an alias that it has
	// made for that (AliasPriority); among themselves such messages stay in order. They may take as
	// much memory again as Limit says. Otherwise they are messages like any other.
	Priority bool
	// Parent is the process that has started this one, as with start_link: NewMailbox, Serve and
	// Handle link the two (see Mailbox.Link), and wait for that as long as the node lives; if it
	// fails, there is no process. With TrapExit a Server still ends when its Parent does, or sends
	// it an exit signal, as a gen_server does: first it calls Server.Terminate. A Server that goes
	// on in the place of a restored one keeps that one's Parent, unless it is given another.
	Parent ei.Pid
	// Handover is called by Freeze, and returns what the mailbox that goes on in this one's place
	// in the new process is to get: see Inherited. Everything stands still by then: it must be
	// quick, must call no method of the node or its mailboxes, and must not wait for a goroutine
	// that does. An error, or a panic, ends the freeze. nil: nothing.
	Handover func() ([]byte, error)

	// the node's own, which cannot be killed: in OTP a new process would take its place
	lasting bool
}

// A Mailbox is a process of this node as others see it: it has a pid, receives messages, can be
// linked, monitored and registered, and ends with a reason. Its methods are safe for concurrent
// use.
type Mailbox struct {
	n    *Node
	pid  ei.Pid
	opts MailboxOptions
	// gets the messages instead of the queue; nil for the program's own processes
	hook    hook
	runs    atomic.Bool  // a Server handles a message; set with mu held
	later   atomic.Int32 // how many calls a Server has left for later
	calls   *Conn        // the mailbox belongs to a call over this connection
	private bool         // the mailbox belongs to a call
	spawned *run        // of the function whose process it is: peers pay for all that is unread
	born    int64        // when the process was made, in ns since 1970; 0: for a call
	code    uintptr      // of a function of the Server, or of the Handler
	traps   atomic.Bool  // exit signals become messages; changes with mu held
	callRef ei.Ref       // of a call: the alias to which the reply goes; without words: none

	mu     sync.Mutex // guards what follows, unless said otherwise
	queue  []*Message
	taken  uint64 // messages that were received, ever
	base   uint64 // what taken was when the first element of queue was the oldest unread message
	bytes  int
	deaf   bool          // nobody will ever receive: messages are dropped
	ahead  backlog       // what has come with priority, and is received before the queue
	asked  *Message      // for a Server: the latest unread request from a process of this node
	ready  chan struct{} // see comes; nil: nobody has waited yet
	staged atomic.Bool   // restored, and not started yet; set with mu held
	moved  bool          // the mailbox has ended because it goes on elsewhere: see hasMoved

	wasServed bool // restored, and in the process before it belonged to a Server or a Handler
	// restored, and waits for the mailbox that is to succeed it; guarded by processes.mu
	awaitsHeir bool
	succeeds   bool      // the mailbox succeeds a restored one
	room       wait.Bell // rings when messages leave
	overflow   overflow
	over       wait.Latch // shut when the mailbox has ended
	why        ei.Term

	serves  bool // the mailbox belongs to a Server, or a Handler
	handles bool // to a Handler, any of whose messages may be a request
	// ends the context of the message that the Server is handling
	cancel  func()
	serving request // the one that the Server is handling
	backlog int     // the node shuts down: so many messages the Server is still to handle
	parted  bool    // the node shuts down: the process has ended for others than those of this process

	names []ei.Atom // guarded by processes.mu
	bondTables
	aliases map[ei.Ref]AliasOption // the active ones, with one of aliasEnds, and perhaps more
	// connections whose nodedown MonitorNode asked for, and how often
	downs        map[*Conn]int
	pendingCalls map[ei.Ref]*pendingCall // its calls in progress

	nodeTypes NodeTypes      // the types that MonitorNodes reports
	nodesUp   map[*Conn]bool // the connections that MonitorNodes has reported as up
	// the nodes of such connections that have moved to another process
	nodesAway map[string]NodeTypes

	inherited *[]byte // what the Handover of the process before has returned
	label     ei.Raw  // see SetLabel; nil: none

	care atomic.Pointer[care] // what module sys has asked for; nil: nothing
}

// NewMailbox makes a process. Close ends it. It waits while the node is frozen. If you start the
// node, call NewMailbox in Config.Setup or after Start: a process fixes the creation (ErrTooLate).
func (n *Node) NewMailbox(o *MailboxOptions) (*Mailbox, error) { return n.register("", nil, o) }

func (n *Node) newMailbox(h hook, o *MailboxOptions, edit ...func(b *Mailbox)) (*Mailbox, error) {
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
func (b *Mailbox) init(n *Node, pid ei.Pid, h hook, o *MailboxOptions) {
	b.n, b.pid, b.hook = n, pid, h
	if o != nil {
		b.opts = *o
		b.traps.Store(o.TrapExit)
	}
}

// enroll puts the mailbox on the table.
func (b *Mailbox) enroll() error {
	err := limit("MailboxOptions.Limit", &b.opts.Limit, DefaultMailboxLimit)
	if err == nil {
		if !b.private {
			b.born = time.Now().UnixNano()
		}
		err = b.n.procs.add(b)
	}
	return wrap("new mailbox", "", err)
}

// newPrivate makes the process of a call, which may have an alias for the reply. It is not moved
// with the node.
func (n *Node) newPrivate(calls *Conn, alias ei.Ref) (*Mailbox, error) {
	return n.newMailbox(nil, nil, func(b *Mailbox) { b.private, b.calls, b.callRef = true, calls, alias })
}

// initSpawned makes the process of a function. It is not moved with the node either.
func (b *Mailbox) initSpawned(t *run) error {
	pid, err := t.n.NewPid()
	if err != nil {
		return err
	}
	b.init(t.n, pid, nil, nil)
	b.spawned = t
	return b.enroll()
}

// isMadeFor tells whether it is the process of a function that the peer has called, or spawned.
func (b *Mailbox) isMadeFor(peer string) bool {
	by := b.spawned.caller()
	return by != nil && by.peer.Name == peer
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
	b.opts.Limit, b.opts.Full = bytes, full
	b.recount()
	b.room.Ring()
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
func (b *Mailbox) stays() bool { return b.private || b.spawned != nil }

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
// ended and everything in it was received; in this last case the error wraps an *ExitError. With
// transport.NoWait it does not wait: os.ErrDeadlineExceeded. For a selective receive see the
// example. The mailbox of a Handler or a Server gets no messages: their functions do.
//
// The message's Op is dist.OpSend or dist.OpRegSend for a term, nodeup and nodedown among them;
// dist.OpAliasSend for one that was sent to the alias Ref of the mailbox;
// dist.OpExit for the end of a linked process, or an exit signal (both with TrapExit), and
// dist.OpMonitorPExit for the end of a monitored one: Reason.Decode() says why. These two have no
// Payload, nor has dist.OpSpawnReply, whose Result answers a SPAWN_REQUEST: see SpawnRequest. Any
// peer can send one that answers nothing: skip it if its Ref is not that of a request of yours.
func (b *Mailbox) Receive(ctx context.Context) (*Message, error) {
	for {
		if m := b.take(); m != nil {
			return m, nil
		}
		if transport.IsNoWait(ctx) && !b.ended() {
			return nil, wrap("receive", "", os.ErrDeadlineExceeded)
		}
		if !b.awaitsMessage(ctx) {
			return nil, wrap("receive", "", ctx.Err())
		}
		if b.ended() {
			if m := b.take(); m != nil {
				return m, nil
			}
			return nil, wrap("receive", "", fmt.Errorf("%w: %w", ErrClosed, b.Err()))
		}
	}
}

// awaitsMessage waits until there may be something to take, or the mailbox has ended; false if ctx
// has ended. A function has no place meanwhile: the message may come from another one.
func (b *Mailbox) awaitsMessage(ctx context.Context) bool {
	t := runOf(ctx)
	t.beginWait()
	defer t.endWait()
	select {
	case <-b.comes():
	case <-b.Done():
	case <-ctx.Done():
		return false
	}
	return true
}

// comes holds a token while there is something to receive, or there may be.
func (b *Mailbox) comes() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ready == nil {
		b.ready = make(chan struct{}, 1)
		b.wakeReceiver()
	}
	return b.ready
}

// All yields messages until ctx ends, or the node, or Close ends the mailbox: these end the loop as
// the close of a channel does, and ctx.Err and Mailbox.Err say which it was. Under transport.NoWait
// it ends after what is there. What goes wrong is an error, in the last pair: an *ExitError of a
// mailbox that has ended otherwise.
func (b *Mailbox) All(ctx context.Context) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		for {
			m, err := b.Receive(ctx)
			if err != nil && b.isOver(err) || !yield(m, err) || err != nil {
				return
			}
		}
	}
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
	if !b.hasUnread() || b.isHeld() {
		return nil
	}
	if c := b.care.Load(); c != nil && c.suspended {
		return b.takeOrder(c)
	}
	if b.ahead.len() > 0 {
		return b.takeAhead()
	}
	return b.takeQueued()
}

// takeQueued takes the oldest message of the queue; b.mu is held.
func (b *Mailbox) takeQueued() *Message {
	i := b.first()
	m := b.queue[i]
	b.queue[i] = nil
	b.taken++
	b.bytes -= cost(m)
	if m.overflows {
		b.restore(m)
	}
	b.recount()
	if m == b.asked {
		b.asked = nil
	}
	if i+1 == len(b.queue) {
		b.queue, b.base = b.queue[:0], b.taken
		if cap(b.queue) > keepQueue {
			b.queue = nil
		}
	} else {
		b.wakeReceiver()
	}
	if b.bytes < b.opts.Limit {
		b.room.Ring()
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
	if c := b.care.Load(); c != nil && c.suspended {
		return !b.isHeld() && b.hasOrder(c)
	}
	return b.hasUnread() && !b.isHeld()
}

// hasUnread is hasMessage also while the mailbox is held; b.mu is held.
func (b *Mailbox) hasUnread() bool { return b.first() < len(b.queue) || b.ahead.len() > 0 }

// first is the index in queue of the oldest unread message; b.mu is held.
func (b *Mailbox) first() int { return int(b.taken - b.base) }

// unread are the messages that nobody has received, the next first; b.mu is held.
func (b *Mailbox) unread() []*Message {
	if b.ahead.len() == 0 {
		return b.queue[b.first():]
	}
	return slices.Concat(b.ahead.messages, b.queue[b.first():])
}

// takeAhead takes the oldest message with priority; b.mu is held.
func (b *Mailbox) takeAhead() *Message {
	m := b.ahead.take()
	b.taken, b.base = b.taken+1, b.base+1
	if m.overflows {
		b.giveBack(m)
	}
	if m == b.asked {
		b.asked = nil
	}
	if b.hasUnread() {
		b.wakeReceiver()
	}
	b.room.Ring()
	return m
}

// clearUnread drops the messages; b.mu is held.
func (b *Mailbox) clearUnread() {
	b.restoreAll()
	b.queue, b.base, b.bytes, b.ahead = nil, b.taken, 0, backlog{}
}

func (b *Mailbox) ended() bool { return b.over.IsShut() }

// A mailbox that is held neither gives nor takes messages: its node is frozen, or it is staged.
func (b *Mailbox) isHeld() bool { return b.staged.Load() || b.n.life.IsFrozen() && !b.ended() }

// mayChange tells whether the mailbox may change although what is of phase p waits; b.mu is held.
// One that has ended does not move.
func (b *Mailbox) mayChange(p life.Phase) bool { return b.n.life.Phase() < p || b.ended() }

// lock locks the mailbox for a change, which waits while the node is frozen.
func (b *Mailbox) lock() { _ = b.lockBefore(context.Background(), life.Frozen) }

// lockBefore is lock for a change that waits from phase p on, until ctx ends.
func (b *Mailbox) lockBefore(ctx context.Context, p life.Phase) error {
	for {
		b.mu.Lock()
		if b.mayChange(p) {
			return nil
		}
		b.mu.Unlock()
		if err := b.n.life.Before(ctx, p); err != nil {
			return err
		}
	}
}

// atEnd arranges for cancel to be called when the mailbox ends, or at once if it has ended.
func (b *Mailbox) atEnd(cancel func()) {
	b.mu.Lock()
	b.cancel = cancel
	b.mu.Unlock()
	if b.ended() {
		cancel()
	}
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

// hasOrder finds what a suspended process takes; b.mu is held.
func (b *Mailbox) hasOrder(c *care) bool {
	pass := func(list []*Message, from *int) bool {
		for *from < len(list) && !list[*from].isOrderTo(b) {
			*from++
		}
		return *from < len(list)
	}
	return pass(b.ahead.messages, &c.aheadPassed) || pass(b.queue[b.first():], &c.passed)
}

// takeOrder takes the first message that a suspended process takes; nil: there is none. b.mu is
// held.
func (b *Mailbox) takeOrder(c *care) *Message {
	toFront := func(list []*Message, i int) {
		m := list[i]
		copy(list[1:i+1], list[:i])
		list[0] = m
	}
	switch {
	case !b.hasOrder(c):
		return nil
	case c.aheadPassed < b.ahead.len():
		toFront(b.ahead.messages, c.aheadPassed)
		return b.takeAhead()
	}
	toFront(b.queue[b.first():], c.passed)
	return b.takeQueued()
}

// suspend has the process take nothing but orders, or everything again.
func (b *Mailbox) suspend(is bool) {
	c := b.caredFor()
	b.mu.Lock()
	defer b.mu.Unlock()
	c.suspended, c.aheadPassed, c.passed = is, 0, 0
	b.wakeReceiver()
}

// isSuspended is called with b.mu held.
func (b *Mailbox) isSuspended() bool {
	c := b.care.Load()
	return c != nil && c.suspended
}

// isGoneFor tells whether the process has ended as another one sees it; b.mu is held.
func (b *Mailbox) isGoneFor(pid ei.Pid) bool {
	return b.ended() || b.parted && !b.n.isHere(b.n.scopeOf(pid))
}
