package genstage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/asker"
)

// defaultMaxDemand is MaxDemand, if the options do not say otherwise.
const defaultMaxDemand = 1000

// NoMinDemand is a MinDemand of 0: more is demanded only when all has been dealt with.
const NoMinDemand = -1

// A Cancel says which ends of the producer, or cancellations by it, a subscription ends with an
// error for. It is the option :cancel of GenStage.
type Cancel int

const (
	Permanent Cancel = iota // for any
	Transient               // for any but those with the reasons normal, shutdown and {shutdown, Term}
	Temporary               // for none
)

// Options are those of a subscription. The zero value, and nil, are GenStage's defaults.
type Options struct {
	MaxDemand int // how many events may be on their way at most; 0: 1,000
	// MinDemand is how many are on their way at least when more are demanded; 0 is half of
	// MaxDemand, and NoMinDemand none.
	MinDemand int
	// Cancel says for which ends of the producer, or cancellations by it, the subscription ends with
	// an error. The zero value is Permanent.
	Cancel Cancel
	// Partition is the option :partition, which GenStage.PartitionDispatcher wants: an ei.Term or a
	// Go value (see ei.Append). nil: there is none.
	Partition any
	// Limit is how many bytes the events may take that have come and were not dealt with, as
	// nodes.MailboxOptions.Limit counts them; 0 is nodes.DefaultMailboxLimit. Beyond it the
	// connection to the producer's node waits, and then the subscription ends: choose MaxDemand so
	// that so many events fit.
	Limit int
	// Name is a name for the process. With one the subscription goes on when the node moves to
	// another process of the operating system, if Config.Setup subscribes under that name there.
	Name string
	// Parent is the process that has started the subscription: see nodes.MailboxOptions.
	Parent ei.Pid
}

// A CancelError is the end of a subscription by its producer, which goes on.
type CancelError struct {
	Producer ei.Pid
	Reason   ei.Term // for example already_subscribed, or duplicated_subscription
}

func (e *CancelError) Error() string {
	return fmt.Sprintf("producer %v has cancelled the subscription: %v", e.Producer, e.Reason)
}

// A Subscription is a process that gets events from one producer. Its methods are safe for
// concurrent use.
type Subscription struct {
	b        *nodes.Mailbox
	log      *slog.Logger
	opts     Options
	producer producer
	f        func(ctx context.Context, events ei.Raw) error
	ended    chan struct{} // the process's function has returned for the last time
	done     chan struct{}
	undrain  func()

	mu        sync.Mutex
	ref       ei.Ref // the subscription's tag, and the monitor of the producer
	tag       ei.Raw // the same, encoded
	pending   int    // what is demanded and was not dealt with
	cancelled bool   // Cancel was called
	over      bool   // it ends as was wanted, or for err
	err       error
}

// A producer is where a producer is: a pid, or a name at a node.
type producer struct {
	pid        ei.Pid
	node, name string
}

func (p producer) String() string {
	if p.name != "" {
		return p.name
	}
	return p.pid.String()
}

func (p producer) monitor(ctx context.Context, b *nodes.Mailbox) (ei.Ref, error) {
	if p.name != "" {
		return b.MonitorName(ctx, p.node, p.name)
	}
	return b.Monitor(ctx, p.pid)
}

func (p producer) send(ctx context.Context, b *nodes.Mailbox, term any) error {
	if p.name != "" {
		return b.SendName(ctx, p.node, p.name, term)
	}
	return b.Send(ctx, p.pid, term)
}

// Subscribe subscribes to a producer anywhere, and demands events, with which f is called: with
// MaxDemand - MinDemand at most, one list after the other. More are demanded when f has returned.
// An event that is no T ends the subscription with an error, and so does an error of f, or a panic;
// io.EOF of f ends it without one. ctx of f ends with the subscription; nodes.MailboxOf(ctx) is its
// process.
//
// Subscribe connects to the producer's node if need be, until its own ctx ends; the errors are
// those of nodes.Mailbox.Monitor and Send, and wrong Options. It does not wait for an answer of the
// producer: there is none. A producer that does not exist is the end of the subscription, with
// nodes.ErrNoProc. It is GenStage.sync_subscribe with a :consumer made for it.
func Subscribe[T any](
	ctx context.Context, n *nodes.Node, to ei.Pid, o *Options, f func(ctx context.Context, events []T) error,
) (*Subscription, error) {
	return subscribe(ctx, n, producer{pid: to, node: string(to.Node)}, o, f)
}

// SubscribeName is Subscribe to the process that has a name at a node, {Name, Node}: the name of a
// module, MyApp.Prices, is "Elixir.MyApp.Prices" here.
func SubscribeName[T any](
	ctx context.Context, n *nodes.Node, node, name string, o *Options, f func(ctx context.Context, events []T) error,
) (*Subscription, error) {
	return subscribe(ctx, n, producer{node: node, name: name}, o, f)
}

func subscribe[T any](
	ctx context.Context, n *nodes.Node, to producer, o *Options, f func(ctx context.Context, events []T) error,
) (*Subscription, error) {
	s := &Subscription{
		log: n.Logger().With("producer", to.String(), "peer", to.node), producer: to,
		ended: make(chan struct{}), done: make(chan struct{}),
	}
	if o != nil {
		s.opts = *o
	}
	err := s.opts.complete()
	s.f = func(ctx context.Context, events ei.Raw) error {
		var list []T
		if err := events.Unmarshal(&list); err != nil {
			return fmt.Errorf("an event that is no %T: %w", *new(T), err)
		}
		return s.deal(ctx, len(list), func(ctx context.Context, from, to int) error { return f(ctx, list[from:to:to]) })
	}
	if err == nil {
		err = s.start(ctx, n)
	}
	if err != nil {
		return nil, &nodes.Error{Op: "subscribe to " + to.String() + " at", Peer: to.node, Err: err}
	}
	return s, nil
}

// complete checks the options, as GenStage does, and fills in the defaults.
func (o *Options) complete() error {
	o.MaxDemand = cmp.Or(o.MaxDemand, defaultMaxDemand)
	switch o.MinDemand {
	case 0:
		o.MinDemand = o.MaxDemand / 2
	case NoMinDemand:
		o.MinDemand = 0
	}
	switch {
	case o.MaxDemand < 1 || o.MaxDemand > math.MaxInt32:
		return fmt.Errorf("Options.MaxDemand is %d", o.MaxDemand)
	case o.MinDemand < 0 || o.MinDemand >= o.MaxDemand:
		return fmt.Errorf("Options.MinDemand is %d, with a MaxDemand of %d", o.MinDemand, o.MaxDemand)
	case o.Cancel < Permanent || o.Cancel > Temporary:
		return fmt.Errorf("Options.Cancel is %d", o.Cancel)
	}
	return nil
}

// wire are the options as the producer gets them.
func (o *Options) wire() ei.List {
	mode := []ei.Atom{"permanent", "transient", "temporary"}[o.Cancel]
	list := ei.List{
		ei.Tuple{ei.Atom("max_demand"), ei.Int(o.MaxDemand)},
		ei.Tuple{ei.Atom("min_demand"), ei.Int(o.MinDemand)},
		ei.Tuple{ei.Atom("cancel"), mode},
	}
	if o.Partition != nil {
		if raw, err := ei.Append(nil, o.Partition); err == nil {
			list = append(list, ei.Tuple{ei.Atom("partition"), ei.Raw(raw)})
		}
	}
	return list
}

func (s *Subscription) start(ctx context.Context, n *nodes.Node) (err error) {
	if _, err = ei.Append(nil, s.opts.Partition); s.opts.Partition != nil && err != nil {
		return fmt.Errorf("Options.Partition: %w", err)
	}
	s.pending = s.opts.MaxDemand
	o := &nodes.MailboxOptions{Limit: s.opts.Limit, Full: nodes.FullWait, Parent: s.opts.Parent}
	if s.opts.Name != "" {
		o.Handover = s.handOver
	}
	s.mu.Lock() // no message is dealt with before the tag is known
	s.b, err = n.Serve(s.opts.Name, nodes.Server{Info: s.info, Call: refuse, Terminate: s.terminate}, o)
	if err == nil {
		err = s.open(ctx)
	}
	s.mu.Unlock()
	if s.b == nil {
		return err
	}
	if err != nil {
		s.b.Close()
		return err
	}
	s.undrain = n.OnDrain(func(ctx context.Context) error { return s.Cancel(ctx, ei.Atom("shutdown")) })
	go s.watch()
	return nil
}

// open subscribes, and demands, unless the process before has; mu is held.
func (s *Subscription) open(ctx context.Context) error {
	goesOn, err := s.inherit()
	if err != nil || goesOn {
		return err
	}
	if s.ref, err = s.producer.monitor(ctx, s.b); err != nil {
		return err
	}
	if s.tag, err = ei.AppendRef(nil, s.ref); err != nil {
		return err
	}
	for _, what := range []ei.Term{
		ei.Tuple{subscribeOrder, elixirNil, s.opts.wire()},
		ei.Tuple{askOrder, ei.Int(s.opts.MaxDemand)},
	} {
		if err = s.tell(ctx, what); err != nil {
			return err
		}
	}
	return nil
}

// tell sends the producer an order.
func (s *Subscription) tell(ctx context.Context, what ei.Term) error {
	m, err := order(toProducer, s.b.Pid(), s.tag, what)
	if err != nil {
		return err
	}
	return s.producer.send(ctx, s.b, m)
}

// watch closes done.
func (s *Subscription) watch() {
	<-s.b.Done()
	if !errors.Is(s.b.Err(), nodes.ErrMoved) {
		<-s.ended
	}
	close(s.done)
	s.undrain()
}

func (s *Subscription) terminate(context.Context, ei.Term) { close(s.ended) }

// refuse answers calls: GenStage.sync_subscribe(subscription, …).
func refuse(_ context.Context, c *nodes.Call) (any, error) {
	if t, ok := c.Request.(ei.Tuple); ok && len(t) > 0 && t[0] == ei.Atom("$subscribe") {
		return ei.Tuple{ei.Atom("error"), ei.Atom("not_a_consumer")}, nil
	}
	return ei.Tuple{ei.Atom("error"), ei.Tuple{ei.Atom("unknown_request"), c.Request}}, nil
}

// Done is closed when the subscription has ended, and its function has returned.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Err is why the subscription has ended: what its function has returned; a *CancelError, or an
// *nodes.ExitError if the producer has ended (nodes.ErrNoConnection if its node is gone), unless
// Options.Cancel says otherwise; nodes.ErrMoved. It is nil while it has not ended, and after
// Cancel, io.EOF, or the end of the node.
func (s *Subscription) Err() error {
	select {
	case <-s.done:
	default:
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return whyEnded(s.b, s.err, s.over)
}

// Cancel ends the subscription: the producer sends no more, and the function gets what is on its
// way. The producer gets the reason, an ei.Term or a Go value (see ei.Append). Cancel waits for
// that, and for the function, until ctx ends: then the subscription ends at once, and the error is
// ctx's. A node that drains does so with each subscription. Do not call Cancel in the
// function: return io.EOF there. It is GenStage.cancel.
func (s *Subscription) Cancel(ctx context.Context, reason any) error {
	raw, err := ei.Append(nil, reason)
	if err != nil {
		return s.wrap(err)
	}
	s.mu.Lock()
	isFirst := !s.cancelled
	s.cancelled = true
	s.mu.Unlock()
	if isFirst {
		err = s.tell(ctx, ei.Tuple{cancelOrder, ei.Raw(raw)})
	}
	if err == nil {
		select {
		case <-s.done:
			return nil
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	s.end(nil, normal)
	if ctx.Err() == nil { // the producer's node is gone, or the subscription has ended
		return nil
	}
	return s.wrap(err)
}

func (s *Subscription) wrap(err error) error {
	return &nodes.Error{Op: "cancel the subscription to " + s.producer.String() + " at", Peer: s.producer.node, Err: err}
}

// end ends the subscription, as was wanted if err is nil.
func (s *Subscription) end(err error, reason ei.Term) {
	s.mu.Lock()
	if !s.over {
		s.over, s.err = true, err
	}
	s.mu.Unlock()
	s.b.Exit(reason)
}

// info takes what the producer says.
func (s *Subscription) info(ctx context.Context, _ *nodes.Mailbox, m *nodes.Message) {
	defer m.Release()
	s.mu.Lock()
	ref, tag := s.ref, s.tag
	s.mu.Unlock()
	if m.Op == dist.OpMonitorPExit {
		if m.Ref == ref {
			reason, err := m.Reason.Decode()
			if err != nil {
				reason = ei.Atom("undecodable_reason")
			}
			s.lost(&nodes.ExitError{Pid: s.producer.pid, Reason: reason}, reason)
		}
		return
	}
	said, err := parse(m.Payload, toConsumer)
	switch {
	case err != nil:
		s.log.Debug("not a message for a consumer", "from", m.From, "message", ei.Brief(m.Payload, 100))
	case !isTag(said.tag, tag, ref):
		// of a subscription that this is not
		if said.events != nil && asker.MaySend(s.b.Node(), m.Conn(), said.from) {
			if m, err := order(toProducer, s.b.Pid(), acceptable(said.tag, said.from.Node), ei.Tuple{cancelOrder, unknownSubscription}); err == nil {
				_ = s.b.Send(noWait(), said.from, m)
			}
		}
	case said.events != nil:
		s.take(ctx, said.events)
	default:
		reason, err := said.reason.Decode()
		if err != nil {
			reason = ei.Atom("undecodable_reason")
		}
		s.mu.Lock()
		wanted := s.cancelled
		s.mu.Unlock()
		if wanted {
			s.end(nil, normal)
			return
		}
		s.lost(&CancelError{Producer: said.from, Reason: reason}, reason)
	}
}

// isTag tells whether a term is the subscription's tag, in whichever form it comes back.
func isTag(raw, tag ei.Raw, ref ei.Ref) bool {
	if string(raw) == string(tag) {
		return true
	}
	c := ei.NewCursor(raw)
	is, err := c.Ref()
	return err == nil && is == ref
}

// lost ends the subscription because of the producer.
func (s *Subscription) lost(err error, reason ei.Term) {
	t, _ := reason.(ei.Tuple)
	isRegular := reason == normal || reason == ei.Atom("shutdown") || len(t) == 2 && t[0] == ei.Atom("shutdown")
	if s.opts.Cancel == Temporary || s.opts.Cancel == Transient && isRegular {
		s.end(nil, normal)
		return
	}
	s.end(err, reason)
}

// take deals with events.
func (s *Subscription) take(ctx context.Context, events ei.Raw) {
	returned := false
	defer func() {
		if !returned { // the process ends with the panic
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.over {
				s.over, s.err = true, errPanicked
			}
		}
	}()
	err := s.f(ctx, events)
	returned = true
	switch {
	case err == nil:
	case err == io.EOF:
		s.end(nil, normal)
	default:
		s.end(err, reasonOf(err))
	}
}

// errPanicked: the log has the rest.
var errPanicked = errors.New("the function panicked")

// deal has the function deal with so many events, and demands more in between, as a GenStage
// consumer does.
func (s *Subscription) deal(ctx context.Context, count int, f func(ctx context.Context, from, to int) error) error {
	s.mu.Lock()
	owed := s.pending
	s.mu.Unlock()
	if count > owed {
		s.log.Error("more events have come than were demanded", "excess", count-owed)
	}
	size := s.opts.MaxDemand - s.opts.MinDemand
	for from := 0; from < count; {
		to := min(count, from+size)
		dealt := min(to-from, owed)
		owed -= dealt // no more counts than was demanded
		if err := f(ctx, from, to); err != nil {
			return err
		}
		from = to
		s.mu.Lock()
		ask := 0
		if s.pending -= dealt; s.pending <= s.opts.MinDemand {
			ask = s.opts.MaxDemand - s.pending
			s.pending = s.opts.MaxDemand
		}
		wanted := ask > 0 && !s.cancelled
		s.mu.Unlock()
		if !wanted {
			continue
		}
		if err := s.tell(nodes.NoConnect(ctx), ei.Tuple{askOrder, ei.Int(ask)}); err != nil && ctx.Err() == nil {
			s.log.Debug("the producer was not asked", "error", err) // that it is gone is heard
		}
	}
	return nil
}
