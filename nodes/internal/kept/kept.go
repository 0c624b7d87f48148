// Package kept is a process of a node that another package keeps: made anew when somebody has ended
// it, at first at once, and after a pause that grows if that happens again and again; given
// functions to run between its messages; and ended by Close, or with its node.
package kept

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

const (
	// deathPause is by how much longer each new process waits in which somebody keeps ending it, up
	// to calm.
	deathPause = 100 * time.Millisecond
	calm       = 5 * time.Second
)

// Options are what a Process is, and does. All but Node, Log, Name and Make may be nil.
type Options struct {
	Node *nodes.Node
	Log  *slog.Logger
	Name string // for the log

	// Make makes the mailbox: isFirst, or one in the place of another one. Running is held. If it
	// fails the Process has ended.
	Make func(ctx context.Context, isFirst bool) (*nodes.Mailbox, error)
	// Begin is the first thing that a mailbox with a Handler does. Running is held. One that was
	// ended before has done nothing.
	Begin func(b *nodes.Mailbox)
	// Lost hears that somebody has ended the mailbox, before another one is made. Running is held.
	Lost func()
	// Over hears that the Process has ended. failed is why another mailbox could not be made; nil:
	// it was closed, or the node has ended, or goes on in another program.
	Over func(failed error)
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

	begun  bool // Begin has run, or runs; guarded by Running
	made   time.Time
	deaths int

	ending sync.Mutex // guards err
	err    error

	asking   sync.Mutex // guards commands
	commands []*command
}

// New makes a Process, which Start starts.
func New(o Options) *Process {
	p := &Process{o: o, done: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Start makes the first mailbox; ctx is Make's. Its error is that of Make, and then it is as if
// there had been no Process.
func (p *Process) Start(ctx context.Context) error {
	if err := p.open(ctx, true); err != nil {
		p.finish(err)
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
	p.begun = p.o.Begin == nil
	p.asking.Lock()
	idle := p.begun && len(p.commands) == 0
	p.asking.Unlock()
	if !idle {
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
	p.finish(nodes.ErrClosed)
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

// finish begins the end, which watchOver completes.
func (p *Process) finish(why error) {
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
		goesOn, failed := p.succeed(b)
		if goesOn {
			continue
		}
		if p.o.Over != nil {
			p.o.Over(failed)
		}
		close(p.done)
		return
	}
}

// errNone keeps the node from moving to another program.
var errNone = errors.New("a process was ended, and is not made anew yet")

// succeed puts another mailbox in the place of one that has ended, if it is to have one.
func (p *Process) succeed(ended *nodes.Mailbox) (goesOn bool, failed error) {
	why := ended.Err()
	var exit *nodes.ExitError
	if !errors.As(why, &exit) {
		p.finish(why)
	} else if err := p.o.Node.Err(); err != nil {
		p.finish(err)
	}
	if p.Err() != nil {
		return false, nil
	}
	// Nobody would hand the state over now.
	guard, err := p.o.Node.NewMailbox(&nodes.MailboxOptions{Handover: func() ([]byte, error) { return nil, errNone }})
	if err == nil {
		defer guard.Close()
	}
	select {
	case <-time.After(p.died()):
	case <-p.ctx.Done():
		return false, nil
	}
	switch err := p.open(p.ctx, false); {
	case err == nil:
		p.o.Log.Warn("a process was ended, and is made anew", "name", p.o.Name, "reason", exit.Reason)
		return true, nil
	case p.Err() != nil || p.o.Node.Err() != nil || errors.Is(err, nodes.ErrMoved):
		p.finish(err)
		return false, nil
	default:
		p.o.Log.Error("a process was ended, and cannot be made anew", "name", p.o.Name, "reason", exit.Reason, "error", err)
		p.finish(err)
		return false, err
	}
}

// died notes that somebody has ended the mailbox. It gives the time before the next one.
func (p *Process) died() time.Duration {
	p.Running.Lock()
	defer p.Running.Unlock()
	if time.Since(p.made) > calm {
		p.deaths = 0
	}
	p.made = time.Now()
	p.deaths++
	if p.o.Lost != nil {
		p.o.Lost()
	}
	return min(time.Duration(p.deaths-1)*deathPause, calm)
}

// Handler is that of a mailbox which takes messages by take, and runs functions before them.
// Running is held. The message is released afterwards.
func (p *Process) Handler(take func(b *nodes.Mailbox, m *nodes.Message)) nodes.Handler {
	return func(b *nodes.Mailbox, m *nodes.Message) {
		defer m.Release()
		p.Running.Lock()
		defer p.Running.Unlock()
		if b != p.box.Load() { // it has ended, and another one is in its place
			return
		}
		if !p.begun {
			p.begun = true
			p.o.Begin(b)
		}
		p.run()
		if m.Conn() != nil || !bytes.Equal(m.Payload, wake) {
			take(b, m)
		}
	}
}

// A command is a function for the process.
type command struct {
	f    func()
	done chan struct{}
}

// Post has the process run a function: this mailbox or, if it ends before, the next one. Running is
// held then. It does not wait. The functions run in their order.
func (p *Process) Post(f func()) { p.post(f) }

func (p *Process) post(f func()) *command {
	c := &command{f, make(chan struct{})}
	p.asking.Lock()
	p.commands = append(p.commands, c)
	isFirst := len(p.commands) == 1
	p.asking.Unlock()
	if isFirst {
		p.ring()
	}
	return c
}

// Do has the process run a function, and waits until that is done. If ctx ends, or the Process,
// before it has begun, it is not done.
func (p *Process) Do(ctx context.Context, f func()) error {
	if err := p.Err(); err != nil {
		return err
	}
	c := p.post(f)
	var err error
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-p.done:
		err = p.Err()
	}
	p.asking.Lock()
	i := slices.Index(p.commands, c)
	if i >= 0 {
		p.commands = slices.Delete(p.commands, i, i+1)
	}
	p.asking.Unlock()
	if i >= 0 {
		return err
	}
	<-c.done // it has begun
	return nil
}

// run runs what there is; Running is held.
func (p *Process) run() {
	p.asking.Lock()
	all := p.commands
	p.commands = nil
	p.asking.Unlock()
	for _, c := range all {
		func() {
			defer close(c.done)
			c.f()
		}()
	}
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
