package genstage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/asker"
	"github.com/cnode-go/cnode/transport"
)

// A Dispatcher says which consumers get an event.
type Dispatcher int

const (
	// Demand gives an event to one consumer, that which has demanded most: it is
	// GenStage.DemandDispatcher. Consumers should demand alike, lest one gets everything.
	Demand Dispatcher = iota
	// Broadcast gives each event to all consumers, at the pace of the slowest one: it is
	// GenStage.BroadcastDispatcher. A process may subscribe once, and without a selector, which
	// would be a fun of its own node.
	Broadcast
)

// ProducerOptions adjust a Producer. The zero value, and nil, are good.
type ProducerOptions struct {
	// Dispatcher says who gets an event: Demand, the zero value, or Broadcast.
	Dispatcher Dispatcher
	// Parent is the process that has started the producer: see nodes.MailboxOptions.
	Parent ei.Pid
}

// A Producer is a process to which consumers subscribe. Its methods are safe for concurrent use.
type Producer struct {
	b          *nodes.Mailbox
	log        *slog.Logger
	dispatcher Dispatcher
	f          func(ctx context.Context, demand int) ([]ei.Raw, error)
	ctx        context.Context // ends with the producer
	cancel     context.CancelFunc
	wake       chan struct{} // there may be something for f to do
	work       sync.WaitGroup
	done       chan struct{}

	mu        sync.Mutex
	consumers map[string]*consumer // by their tags, encoded
	monitors  map[ei.Ref]*consumer
	ways      map[ei.Pid]*way
	ready     ranking        // the consumers whose ways are free
	stuck     int            // how many others there are
	turns     int64          // see consumer.turn
	spent     map[string]int // bytes that the subscriptions of nodes take
	buffer    []ei.Raw       // what nobody has demanded yet
	begun     bool           // the node runs
	holds     bool           // GenStage.demand(producer, :accumulate)
	idle      bool           // f had nothing, and nobody has demanded more since
	ends      bool           // f gives no more
	closed    bool           // it ends, or has, for err
	err       error
	// Monitors are being made on other goroutines than the process's, and these DOWN messages may be
	// theirs.
	making int // how many of these errands wait
	early  map[ei.Ref]bool
	unsure []*consumer // of the process before, which are to be cancelled
}

// Produce starts a producer under a name, or with an empty name under none: its consumers need its
// pid then. f is asked for events: it waits until it has one at least, or ctx ends, and returns
// demand events at most; what it gives beyond that waits for the next demand. One that returns none
// is asked again when more is demanded. io.EOF says that there are no more: the producer ends, with
// reason normal, when its consumers have taken what there is. Any other error ends it at once, and
// so does a panic, with the reason {go_error, Text} or {go_panic, Text}, or that of an
// *ei.ReasonError. ctx ends with the producer.
//
// If you start the node, call Produce in Config.Setup or after Node.Start. The errors are those of
// nodes.Node.Serve. Produce waits for nothing. It is GenStage.start_link of a :producer.
func Produce[T any](
	n *nodes.Node, name string, o *ProducerOptions, f func(ctx context.Context, demand int) ([]T, error),
) (*Producer, error) {
	if o == nil {
		o = new(ProducerOptions)
	}
	p := &Producer{
		log: n.Logger().With("producer", name), dispatcher: o.Dispatcher, wake: make(chan struct{}, 1), done: make(chan struct{}),
		consumers: map[string]*consumer{}, monitors: map[ei.Ref]*consumer{}, early: map[ei.Ref]bool{},
		ways: map[ei.Pid]*way{}, ready: ranking{mostFirst: o.Dispatcher == Demand}, spent: map[string]int{},
	}
	each := 0 // bytes that an event takes, more or less
	p.f = func(ctx context.Context, demand int) ([]ei.Raw, error) {
		events, why := f(ctx, demand)
		if len(events) == 0 {
			return nil, why
		}
		list, size, err := encode(events, len(events)*each)
		if err != nil {
			return nil, err
		}
		each = size/len(events) + 1
		return list, why
	}
	if o.Dispatcher != Demand && o.Dispatcher != Broadcast {
		return nil, &nodes.Error{Op: "produce " + name, Err: fmt.Errorf("ProducerOptions.Dispatcher is %d", o.Dispatcher)}
	}
	if err := p.start(n, name, o); err != nil {
		return nil, &nodes.Error{Op: "produce " + name, Err: err}
	}
	return p, nil
}

func (p *Producer) start(n *nodes.Node, name string, o *ProducerOptions) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := n.Serve(name, nodes.Server{Call: p.call, Cast: p.cast, Info: p.info, State: p.state},
		&nodes.MailboxOptions{Full: nodes.FullWait, Parent: o.Parent, Handover: p.handOver}) // a peer's flood holds up that peer only
	if err != nil {
		return err
	}
	p.b = b
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if err = p.inherit(); err == nil {
		err = b.Send(context.Background(), b.Pid(), begin) // there is room
	}
	if err != nil {
		p.cancel()
		b.Close()
		return err
	}
	p.work.Go(p.run)
	go func() {
		<-b.Done()
		p.mu.Lock()
		p.cancel() // from now on background begins nothing
		p.mu.Unlock()
		p.work.Wait()
		close(p.done)
	}()
	return nil
}

// begin is the first message: the node runs then, and is not one that is still to take over.
const begin ei.Atom = "$begin"

// Pid is the producer's process, for consumers that do not use its name.
func (p *Producer) Pid() ei.Pid { return p.b.Pid() }

// Done is closed when the producer has ended.
func (p *Producer) Done() <-chan struct{} { return p.done }

// Err is why the producer has ended: what its function has returned, an *nodes.ExitError if
// somebody has ended its process, or nodes.ErrMoved. It is nil while it has not ended, and after
// io.EOF, Close, or the end of the node.
func (p *Producer) Err() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return whyEnded(p.b, p.err, p.closed)
}

// whyEnded is why a stage has ended: for err, or as its mailbox says, unless that was wanted.
func whyEnded(b *nodes.Mailbox, err error, wanted bool) error {
	switch {
	case err != nil:
		return err
	case wanted:
		return nil
	}
	if err = b.Err(); errors.Is(err, nodes.ErrMoved) || b.Node().State() < nodes.StateStopping {
		return err
	}
	return nil
}

// Close ends the producer at once, with reason normal, and waits until its function has returned.
// Consumers that have subscribed as :permanent end with it. The error is nil.
func (p *Producer) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.b.Exit(normal)
	<-p.done
	return nil
}

// Cancel ends the subscriptions of a consumer, with a reason, an ei.Term or a Go value (see
// ei.Append), which a :permanent consumer ends with. What it was sent before it gets before. The
// error is that of the reason, or that there is no such consumer. It waits for nothing.
func (p *Producer) Cancel(consumer ei.Pid, reason any) error {
	raw, err := ei.Append(nil, reason)
	if err != nil {
		return &nodes.Error{Op: "cancel", Peer: string(consumer.Node), Err: err}
	}
	var gone []ei.Ref
	p.mu.Lock()
	for c := range p.of(consumer) {
		gone = append(gone, p.remove(c, raw))
	}
	p.mu.Unlock()
	if gone == nil {
		return &nodes.Error{Op: "cancel", Peer: string(consumer.Node), Err: nodes.ErrNoProc}
	}
	for _, ref := range gone {
		p.b.Demonitor(context.Background(), ref)
	}
	p.ring()
	return nil
}

// Consumers are the processes that have subscribed, in no order.
func (p *Producer) Consumers() []ei.Pid {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]ei.Pid, 0, len(p.consumers))
	for _, c := range p.consumers {
		list = append(list, c.pid)
	}
	return list
}

// run asks f for what is demanded.
func (p *Producer) run() {
	for {
		demand := p.demanded()
		if demand > 0 {
			events, err := p.guarded(demand)
			p.took(events, err)
			continue
		}
		select {
		case <-p.wake:
		case <-p.ctx.Done():
			return
		}
	}
}

// demanded is for how many events f is to be asked now.
func (p *Producer) demanded() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.begun || p.holds || p.idle || p.ends || p.closed || len(p.buffer) > 0 || p.ctx.Err() != nil {
		return 0
	}
	return int(min(p.available(), math.MaxInt32))
}

// A panicError is a panic of a stage's function.
type panicError struct{ text string }

func (e *panicError) Error() string { return "the function panicked: " + e.text }

func (p *Producer) guarded(demand int) (events []ei.Raw, err error) {
	returned := false
	defer func() {
		if !returned {
			r := recover()
			isExit := r == nil
			if isExit {
				r = "runtime.Goexit"
			}
			err = &panicError{fmt.Sprint(r)}
			p.log.Error("producer panicked", "panic", r, "stack", string(debug.Stack()))
			if isExit { // the goroutine ends here
				p.took(nil, err)
			}
		}
	}()
	events, err = p.f(p.ctx, demand)
	returned = true
	return events, err
}

// took notes what f has given, and sends what is demanded.
func (p *Producer) took(events []ei.Raw, err error) {
	p.mu.Lock()
	p.buffer = append(p.buffer, events...)
	p.idle = len(events) == 0 && err == nil
	p.dispatch()
	failed := err != nil && err != io.EOF && p.ctx.Err() == nil // else it is what the end has caused
	switch {
	case failed && !p.closed:
		p.err, p.closed = err, true
	case err == io.EOF:
		p.ends = true
	}
	p.mu.Unlock()
	if failed {
		p.b.Exit(reasonOf(err))
	}
	p.endIfDone()
}

// reasonOf is the reason that the process of a stage ends with for an error of its function.
func reasonOf(err error) ei.Term {
	var reason *ei.ReasonError
	var panicked *panicError
	switch {
	case errors.As(err, &panicked):
		return ei.Tuple{ei.Atom("go_panic"), ei.Binary(panicked.text)}
	case errors.As(err, &reason) && reason.Reason != nil:
		return reason.Reason
	}
	return ei.Tuple{ei.Atom("go_error"), ei.Binary(err.Error())}
}

// endIfDone ends the producer when all that there was is sent.
func (p *Producer) endIfDone() {
	p.mu.Lock()
	isDone := p.ends && len(p.buffer) == 0 && p.stuck == 0
	p.closed = p.closed || isDone
	p.mu.Unlock()
	if isDone {
		p.b.Exit(normal)
	}
}

// ring has run look again.
func (p *Producer) ring() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
	p.endIfDone()
}

// info takes what consumers say.
func (p *Producer) info(_ context.Context, _ *nodes.Mailbox, m *nodes.Message) {
	defer m.Release()
	defer p.ring()
	if m.Op == dist.OpMonitorPExit {
		p.down(m.Ref)
		return
	}
	said, err := parse(m.Payload, toProducer)
	if err != nil {
		p.strange(m)
		return
	}
	said.conn = m.Conn()
	switch said.what {
	case subscribeOrder:
		p.subscribe(&said)
	case askOrder:
		p.ask(&said)
	default:
		p.cancelled(&said)
	}
}

func (p *Producer) strange(m *nodes.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := ei.NewCursor(m.Payload); m.Conn() == nil && c.AtomIs(begin) {
		p.begun = true
		for _, c := range p.unsure {
			gone, _ := ei.AppendAtom(nil, "noconnection")
			if ref := p.remove(c, gone); ref.Len > 0 {
				p.background(func() { p.b.Demonitor(context.Background(), ref) })
			}
		}
		p.unsure = nil
		p.dispatch()
		return
	}
	p.log.Debug("not a message for a producer", "from", m.From, "message", ei.Brief(m.Payload, 100))
}

// down forgets a consumer that has ended.
func (p *Producer) down(ref ei.Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.monitors[ref]; c != nil {
		p.remove(c, nil)
	} else if p.making > 0 {
		p.early[ref] = true
	}
}

// subscribe takes a consumer.
func (p *Producer) subscribe(said *message) {
	if !p.maySend(said, said.from) {
		return
	}
	c := &consumer{pid: said.from, asker: asker.Of(p.b.Node(), said.conn), key: string(said.tag), tag: acceptable(said.tag, said.from.Node)}
	p.mu.Lock()
	was, refused := p.admit(c, said)
	p.mu.Unlock()
	p.b.Demonitor(context.Background(), was)
	if refused != nil {
		p.log.Warn("a subscription is refused", "consumer", said.from, "reason", refused)
		p.tell(said.from, c.tag, refused)
	}
}

// admit makes a subscription, in the place of another one if its consumer says so, or tells why
// not. was is the monitor of the other one, which the caller ends without mu.
func (p *Producer) admit(c *consumer, said *message) (was ei.Ref, refused ei.Term) {
	if p.consumers[c.key] != nil {
		return was, duplicatedSubscription
	}
	if old := p.consumers[string(said.old)]; said.old != nil && old != nil && p.maySend(said, old.pid) {
		was = p.remove(old, p.given(old, said.reason))
	}
	switch {
	case p.dispatcher == Broadcast && said.hasOption("selector"):
		return was, ei.Tuple{ei.Atom("bad_opts"), ei.Binary("a Go producer has no :selector")}
	case p.dispatcher == Broadcast && len(p.of(c.pid)) > 0:
		return was, alreadySubscribed
	case !p.pay(c, subscriptionCost+2*len(c.key)):
		return was, ei.Atom("system_limit")
	}
	p.add(c)
	p.do(errand{c: c})
	return was, nil
}

// monitored notes the monitor of a consumer, which may have ended meanwhile.
func (p *Producer) monitored(c *consumer, ref ei.Ref, err error) {
	switch {
	case err != nil:
		p.log.Debug("a consumer is gone", "consumer", c.pid, "error", err)
		p.remove(c, nil)
	case p.early[ref]:
		p.remove(c, nil)
	case p.consumers[c.key] != c: // it was cancelled meanwhile
		p.background(func() { p.b.Demonitor(context.Background(), ref) })
	default:
		c.monitor = ref
		p.monitors[ref] = c
	}
}

// maySend tells whether whoever has sent a message may have the producer send to a process.
func (p *Producer) maySend(said *message, to ei.Pid) bool {
	return asker.MaySend(p.b.Node(), said.conn, to)
}

// ask notes a demand, and sends what there is for it.
func (p *Producer) ask(said *message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch c := p.consumers[string(said.tag)]; {
	case c == nil:
		if p.maySend(said, said.from) {
			p.tell(said.from, acceptable(said.tag, said.from.Node), unknownSubscription)
		}
	case said.ask > 0 && p.maySend(said, c.pid):
		p.idle = false
		p.demand(c, min(said.ask, mostDemand-c.demand))
		p.dispatch()
	}
}

// cancelled ends a subscription that its consumer, or whoever knows it, has cancelled.
func (p *Producer) cancelled(said *message) {
	var was ei.Ref
	p.mu.Lock()
	if c := p.consumers[string(said.tag)]; c != nil && p.maySend(said, c.pid) {
		was = p.remove(c, p.given(c, said.reason))
	}
	p.mu.Unlock()
	p.b.Demonitor(context.Background(), was)
}

// tell sends {cancel, Reason} to who has no subscription.
func (p *Producer) tell(to ei.Pid, tag ei.Raw, reason ei.Term) {
	m, err := order(toConsumer, p.b.Pid(), tag, ei.Tuple{cancelOrder, reason})
	if err == nil {
		err = p.b.Send(noWait(), to, m)
	}
	if err != nil {
		p.log.Debug("a consumer was not told", "consumer", to, "error", err)
	}
}

// call answers the calls of GenStage.
func (p *Producer) call(_ context.Context, c *nodes.Call) (any, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch request := c.Request.(type) {
	case ei.Atom:
		switch request {
		case "$demand":
			if p.holds {
				return ei.Atom("accumulate"), nil
			}
			return ei.Atom("forward"), nil
		case "$estimate_buffered_count":
			return len(p.buffer), nil
		}
	case ei.Tuple:
		if len(request) > 0 && request[0] == ei.Atom("$subscribe") { // GenStage.sync_subscribe(producer, …)
			return ei.Tuple{ei.Atom("error"), ei.Atom("not_a_consumer")}, nil
		}
		if len(request) == 2 && request[0] == ei.Atom("$info") { // GenStage.sync_info
			return ei.Atom("ok"), nil
		}
	}
	return ei.Tuple{ei.Atom("error"), ei.Tuple{ei.Atom("unknown_request"), c.Request}}, nil
}

// cast takes the casts of GenStage.
func (p *Producer) cast(_ context.Context, request ei.Term) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, _ := request.(ei.Tuple)
	switch {
	case len(t) == 2 && t[0] == ei.Atom("$demand") && (t[1] == ei.Atom("forward") || t[1] == ei.Atom("accumulate")):
		p.holds = t[1] == ei.Atom("accumulate")
		p.dispatch()
		select {
		case p.wake <- struct{}{}:
		default:
		}
	case len(t) == 4 && t[0] == ei.Atom("$subscribe"):
		p.log.Warn("a producer cannot subscribe", "to", t[2])
	}
}

// state is what module sys shows.
func (p *Producer) state() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := ei.List{}
	for _, c := range p.ordered() {
		list = append(list, ei.Tuple{c.pid, ei.Int(c.demand)})
	}
	return ei.MapOf(ei.Atom("consumers"), list, ei.Atom("buffered"), ei.Int(len(p.buffer)))
}

// noWait is for what is sent at once, to a node that is connected, or not.
func noWait() context.Context { return nodes.NoConnect(transport.NoWait()) }
