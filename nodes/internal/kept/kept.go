// Package kept is a process of a node that another package keeps: made anew when somebody has ended
// it, at first at once, and after a pause that grows if that happens again and again; given
// functions to run between its messages; and ended by Close, or with its node.
package kept

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/asker"
	"github.com/cnode-go/cnode/nodes/internal/otp"
	"github.com/cnode-go/cnode/nodes/introspect"
	"github.com/cnode-go/cnode/transport"
)

const (
	// deathPause is by how much longer each new process waits in which somebody keeps ending it, up
	// to calm.
	deathPause = 100 * time.Millisecond
	calm       = 5 * time.Second
)

// Options are what a Process is, and does. Begin, Lost, Over, State and Until may be
// nil.
type Options struct {
	Node *nodes.Node
	Log  *slog.Logger
	Name string // for the log

	// Make makes the mailbox: isFirst, or one in the place of another one. Running is held. If it
	// fails the Process has ended.
	Make func(ctx context.Context, isFirst bool) (*nodes.Mailbox, error)
	// Begin is the first thing that a mailbox with a Handler does; isFirst: none has before. Running
	// is held. nil: there is no Handler.
	Begin func(b *nodes.Mailbox, isFirst bool)
	// Lost hears that somebody has ended the mailbox, before another one is made. Running is held.
	Lost func()
	// Over hears that the Process has ended, and why.
	Over func(why error)
	// State is what module sys shows of a mailbox with a Handler. Running is held. nil: no state.
	State func() ei.Term

	// Until is a context with which the Process ends, as by Close. nil: there is none.
	Until context.Context
}

// A Process is one that is kept. Its methods are safe for concurrent use.
type Process struct {
	// Running is held while the process takes a message, or runs a function, and while another
	// mailbox is made.
	Running sync.Mutex

	o      Options
	ctx    context.Context // ends with the Process
	cancel context.CancelFunc
	done   chan struct{}
	work   sync.WaitGroup
	box    atomic.Pointer[nodes.Mailbox]

	// guarded by Running
	begun, ever bool // the mailbox has begun; one has
	made        time.Time
	deaths      int
	undrain     func() // takes back AtDrain; nil: it was not called

	inherits atomic.Bool // see Inherit; set while Running is held

	ending sync.Mutex // guards err
	err    error

	asking   sync.Mutex // guards commands
	commands []*command
}

// New makes a Process, which Start starts.
func New(o Options) *Process {
	p := &Process{o: o, done: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(cmp.Or(o.Until, context.Background()))
	return p
}

// Start makes the first mailbox; ctx is Make's. Its error is that of Make, and then it is as if
// there had been no Process.
func (p *Process) Start(ctx context.Context) error {
	if err := p.open(ctx, true); err != nil {
		p.End(err)
		close(p.done)
		return err
	}
	go p.watchOver()
	return nil
}

// open makes a mailbox.
func (p *Process) open(ctx context.Context, isFirst bool) error {
	p.Running.Lock()
	defer p.Running.Unlock()
	b, err := p.o.Make(ctx, isFirst)
	if err != nil {
		return err
	}
	p.box.Store(b)
	p.begun = false
	if p.o.Begin != nil {
		p.ring()
	}
	return nil
}

// Mailbox is the process of the moment, which may just have ended; nil before Start.
func (p *Process) Mailbox() *nodes.Mailbox { return p.box.Load() }

// Context ends with the Process.
func (p *Process) Context() context.Context { return p.ctx }

// Close ends the process, and waits until it has ended, and what Go has begun.
func (p *Process) Close() {
	p.End(nodes.ErrClosed)
	<-p.done
	p.work.Wait()
}

// Done is closed when the Process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is why the Process has ended, or is about to: nodes.ErrClosed, what Mailbox.Err says, or what
// has kept a mailbox from being made; nil while it lives.
func (p *Process) Err() error {
	p.ending.Lock()
	defer p.ending.Unlock()
	return p.err
}

// End begins the end of the Process, unless it has begun: why is what Err says.
func (p *Process) End(why error) {
	p.ending.Lock()
	if p.err == nil {
		p.err = why
	}
	p.ending.Unlock()
	p.cancel()
}

// watchOver makes the mailbox anew when somebody has ended it, as a supervisor does in OTP, and
// ends the Process when its time has come.
func (p *Process) watchOver() {
	for {
		b := p.box.Load()
		select {
		case <-b.Done():
		case <-p.ctx.Done():
			b.Exit(ei.Atom("shutdown"))
			<-b.Done()
		}
		if p.succeed(b) {
			continue
		}
		p.End(nodes.ErrClosed) // unless it has another reason
		if p.o.Over != nil {
			p.o.Over(p.Err())
		}
		p.Running.Lock()
		undrain := p.undrain
		p.Running.Unlock()
		if undrain != nil {
			undrain()
		}
		close(p.done)
		return
	}
}

// errNone keeps the node from moving to another program.
var errNone = errors.New("a process was ended, and is not made anew yet")

// succeed puts another mailbox in the place of one that has ended; false: the Process ends.
func (p *Process) succeed(ended *nodes.Mailbox) bool {
	why := ended.Err()
	var exit *nodes.ExitError
	if errors.As(why, &exit) {
		why = p.o.Node.Err()
	}
	if why != nil {
		p.End(why)
	}
	if p.ctx.Err() != nil {
		return false
	}
	// Nobody would hand the state over now.
	guard, err := p.o.Node.NewMailbox(&nodes.MailboxOptions{Handover: func() ([]byte, error) { return nil, errNone }})
	var end <-chan struct{} // the node's, for which open has an error
	if err == nil {
		defer guard.Close()
		end = guard.Done()
	}
	for pause := p.died(); ; pause = p.pause() {
		select {
		case <-time.After(pause):
		case <-end:
		case <-p.ctx.Done():
			return false
		}
		if err = p.open(p.ctx, false); err == nil {
			break
		}
		var again *nodes.ExitError // somebody has ended the new one, too
		switch {
		case p.ctx.Err() != nil:
			return false
		case errors.As(err, &again) && p.o.Node.State() < nodes.StateStopping:
			continue
		}
		p.End(err)
		if HasFailed(err) {
			p.o.Log.Error("a process was ended, and cannot be made anew", "name", p.o.Name, "reason", exit.Reason, "error", err)
		}
		return false
	}
	p.o.Log.Warn("a process was ended, and is made anew", "name", p.o.Name, "reason", exit.Reason)
	return true
}

// HasFailed tells whether an end is one that nobody has wanted: not by Close, nor with the node, or
// because that goes on in another program.
func HasFailed(why error) bool {
	return !errors.Is(why, nodes.ErrClosed) && !errors.Is(why, nodes.ErrMoved)
}

// AtDrain has the node's Drain run f, from the first call on, until the Process ends. Running is
// held.
func (p *Process) AtDrain(f func(ctx context.Context) error) {
	if p.undrain == nil {
		p.undrain = p.o.Node.OnDrain(f)
	}
}

// Inherit says that the mailbox has the state of another process, whose node goes on here only
// later, with Begin. Running is held.
func (p *Process) Inherit() { p.inherits.Store(true) }

// Inherits tells whether that is still to come.
func (p *Process) Inherits() bool { return p.inherits.Load() }

// Early runs f at once, with Running held, if that is still to come; else it is false.
func (p *Process) Early(f func()) bool {
	if !p.Inherits() { // so it does not wait for Running without a context
		return false
	}
	p.Running.Lock()
	defer p.Running.Unlock()
	if !p.Inherits() {
		return false
	}
	f()
	return true
}

// died notes that somebody has ended the mailbox. It gives the time before the next one.
func (p *Process) died() time.Duration {
	p.Running.Lock()
	defer p.Running.Unlock()
	if p.o.Lost != nil {
		p.o.Lost()
	}
	return p.pauseLocked()
}

// pause is died once more, for a mailbox that was ended before it was in its place.
func (p *Process) pause() time.Duration {
	p.Running.Lock()
	defer p.Running.Unlock()
	return p.pauseLocked()
}

func (p *Process) pauseLocked() time.Duration {
	if time.Since(p.made) > calm {
		p.deaths = 0
	}
	p.made = time.Now()
	p.deaths++
	return min(time.Duration(p.deaths-1)*deathPause, calm)
}

// Handler is that of a mailbox which takes messages by take, and runs functions before them. What
// module sys asks is answered here, and does not get there. Running is held. The message is
// released afterwards.
func (p *Process) Handler(take func(b *nodes.Mailbox, m *nodes.Message)) nodes.Handler {
	return handler{p, take}.handle // a method, by whose name AnswersSys knows it
}

type handler struct {
	*Process
	take func(b *nodes.Mailbox, m *nodes.Message)
}

func (p handler) handle(b *nodes.Mailbox, m *nodes.Message) {
	defer m.Release()
	p.Running.Lock()
	defer p.Running.Unlock()
	if b != p.box.Load() { // it has ended, and another one is in its place
		return
	}
	if !p.begun {
		isFirst := !p.ever
		p.begun, p.ever = true, true
		p.inherits.Store(false)
		p.o.Begin(b, isFirst)
	}
	p.run()
	if (m.Conn() != nil || !bytes.Equal(m.Payload, wake)) && !p.takeOrder(b, m) {
		p.take(b, m)
	}
}

// AnswersSys tells whether a process answers module sys by itself: a Server, a Process of this
// package, or one of the node's own.
func AnswersSys(p introspect.Process) bool {
	isKept := path.Base(string(p.Runs.Module)) == "kept" && p.Runs.Function == "handler.handle"
	return p.Kind == introspect.KindServer || p.Kind == introspect.KindSystem || p.Kind == introspect.KindHandler && isKept
}

// takeOrder answers a message of module sys, {system, From, Request}; false if m is none. A process
// of a third node is not answered: nothing proves that it has asked.
func (p *Process) takeOrder(b *nodes.Mailbox, m *nodes.Message) bool {
	q := otp.ReadRequest(m.Payload)
	if q.Kind != otp.System {
		return false
	}
	from := q.From
	if alias, ok := otp.AliasOf(q.Tag); ok {
		from.Alias = alias
	}
	by := ei.Atom(asker.Of(p.o.Node, m.Conn()))
	if from.Pid.Node != by || from.Alias.Len > 0 && from.Alias.Node != by {
		return true
	}
	request, err := q.Body.Decode()
	if err != nil {
		request = ei.Atom("undecodable")
	}
	shown := otp.Status{Pid: b.Pid(), Name: p.o.Name}
	if p.o.State != nil {
		shown.State = p.o.State()
	}
	answer, ctx := ei.Tuple{q.Tag, shown.Answer(request)}, nodes.NoConnect(transport.NoWait())
	if from.Alias.Len > 0 {
		err = b.SendAlias(ctx, from.Alias, answer)
	} else {
		err = b.Send(ctx, from.Pid, answer)
	}
	if err != nil {
		p.o.Log.Debug("answer lost", "to", from.Pid, "error", err)
	}
	return true
}

// RefuseCall answers a gen_server:call for which a process has no answer of its own, with {error,
// unknown_request}: else the caller would wait until its time is up, as nothing here crashes over
// it. false: m is none. A process of a third node is not answered: nothing proves that it has
// asked, and an answer may end it, if it is a scope of pg, say.
func RefuseCall(b *nodes.Mailbox, m *nodes.Message) bool {
	call, ok := b.CallOf(m)
	if !ok {
		return false
	}
	if string(call.From.Node) == asker.Of(b.Node(), m.Conn()) {
		_ = call.Reply(nodes.NoConnect(transport.NoWait()), UnknownRequest())
	}
	return true
}

// UnknownRequest is the answer to a call that a process does not know.
func UnknownRequest() ei.Term { return ei.Tuple{ei.Atom("error"), ei.Atom("unknown_request")} }

// A command is a function for the process.
type command struct {
	f     func()
	taken atomic.Bool // it is run, or not wanted any more
	done  chan struct{}
	err   error // that it has not returned; set before done is closed
}

// Post, once it is started, has the process run a function: this mailbox or, if it ends before, the
// next one. Running is held then. It does not wait. The functions run in their order. One that
// panics, or calls runtime.Goexit, ends the mailbox; those behind it run in the next one.
func (p *Process) Post(f func()) { p.post(f) }

func (p *Process) post(f func()) *command {
	c := &command{f: f, done: make(chan struct{})}
	p.asking.Lock()
	p.commands = append(p.commands, c)
	isFirst := len(p.commands) == 1
	p.asking.Unlock()
	if isFirst {
		p.ring()
	}
	return c
}

// Do has the process run a function, as Post does, and waits until that is done. If ctx ends, or
// the Process, before it has begun, it is not done, and the error is ctx's, or Err's. If the
// function panics, or calls runtime.Goexit, the error is a *nodes.ExitError with the reason that
// the mailbox ends with.
func (p *Process) Do(ctx context.Context, f func()) error {
	err := p.Err()
	if err != nil {
		return err
	}
	c := p.post(f)
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-p.done:
		err = p.Err()
	}
	if c.taken.CompareAndSwap(false, true) {
		return err
	}
	<-c.done
	return c.err
}

// run runs what there is; Running is held. If a function does not return, what is behind it is left
// to the next mailbox, which open rings.
func (p *Process) run() {
	p.asking.Lock()
	left := p.commands
	p.commands = nil
	p.asking.Unlock()
	defer func() {
		if len(left) > 0 {
			p.asking.Lock()
			p.commands = append(left, p.commands...)
			p.asking.Unlock()
		}
	}()
	for len(left) > 0 {
		c := left[0]
		left = left[1:]
		if c.taken.CompareAndSwap(false, true) {
			c.run(p.box.Load().Pid())
		}
	}
}

// run runs the function in the process pid, which ends if that panics or leaves by runtime.Goexit.
func (c *command) run(pid ei.Pid) {
	defer close(c.done)
	returned := false
	defer func() {
		if returned {
			return
		}
		panicked, text := recover(), "runtime.Goexit"
		if panicked != nil {
			text = fmt.Sprint(panicked)
		}
		c.err = &nodes.ExitError{Pid: pid, Reason: ei.Tuple{ei.Atom("go_panic"), ei.Binary(text)}}
		if panicked != nil {
			panic(panicked) // the log has the stack, of this goroutine still
		}
	}()
	c.f()
	returned = true
}

// wake has the process look for what it is to do.
var wake, _ = ei.AppendTerm(nil, ei.Tuple{ei.Atom("$cnode_kept"), ei.Atom("run")})

// ring wakes the process. A mailbox that has ended leaves what there is to do to the next one.
func (p *Process) ring() {
	b := p.box.Load()
	if b == nil { // open rings
		return
	}
	ring := func(ctx context.Context) error { return b.Send(ctx, b.Pid(), ei.Raw(wake)) }
	if err := ring(transport.NoWait()); errors.Is(err, os.ErrDeadlineExceeded) { // frozen, or full
		p.Go(func() { _ = ring(p.ctx) })
	}
}

// Go runs f on a goroutine of its own, for which Close waits, unless the Process has ended.
func (p *Process) Go(f func()) {
	p.ending.Lock()
	defer p.ending.Unlock()
	if p.err == nil {
		p.work.Go(f)
	}
}
