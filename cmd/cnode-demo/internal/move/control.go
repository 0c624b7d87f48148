package move

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/cli"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/config"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/steps"
	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/transport/handoff"
)

const (
	// StartLimit bounds the start of a new process, and its greeting, during which the old one
	// still serves.
	StartLimit = 10 * time.Second
	// stepLimit bounds each step during which neither process serves. Callers wait this long if the
	// new process hangs; most have longer time-outs.
	stepLimit = 3 * time.Second
)

// The first word of the answer to "upgrade". It is followed by the ids of the old process and the
// new one, then by askWorkers if there are workers, or by what is wrong; by nothing after
// answerEnds.
const (
	answerUpgraded = "upgraded"
	answerSilent   = "silent"   // the new process has everything, but has not reported that it runs
	answerTroubled = "troubled" // the new process has everything, but its start has failed
	answerEnds     = "ends"     // the old process still has everything, but is about to end
)

// askWorkers is the request to a front that has just taken over: what is the outcome of its
// workers' upgrade?
const askWorkers = "workers"

// A Control lets other processes of the same user reach serve: to ask it to start a new process in
// its place, or to take its place.
type Control struct {
	feature string // that the other side must know
	offer   *handoff.Offer
	fixed   error  // why nothing can ever be handed over
	binary  string // the file of this program
	name    string
	log     *slog.Logger
	halt    func(ctx context.Context) (handoff.Frozen, error)
	beside  func() []*upgrade.Listener
	crew    Crew             // nil: there are no workers
	socket  *handoff.Control // nil: serve cannot be reached
	giving  sync.RWMutex     // held during a hand-off, of which the socket is a part

	Listeners []*nodes.Listener // as they were before another process could take them over

	mu       sync.Mutex
	starting bool
	Moved    chan struct{}      // closed: another process is the node
	next     *upgrade.Successor // that process, if this one has started it; to be read after finish
	before   *upgrade.Predecessor
	visits   sync.WaitGroup
	end      context.CancelFunc
}

func newControl(w Whole, fixed error) *Control {
	cfg := w.Config()
	c := &Control{
		name: cfg.Name, feature: w.Knows()[0], crew: w.Crew(), beside: w.Beside, binary: upgrade.OwnFile(), log: cfg.Logger, fixed: fixed,
		Moved: make(chan struct{}),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if os.Getpid() == 1 { // all other processes would end with this one
		c.fixed = errors.New("serve is process 1, whose end is the end of its container: replace the container, or " +
			"start serve with cnode-demo stay")
	}
	return c
}

// run listens on the control socket, the previous process's if there is one, for processes to which
// to give what o offers, together with serve's own state. If no control socket can be made, the
// node goes on without, and errOut says so.
func (c *Control) run(ctx context.Context, o *handoff.Offer, before *handoff.Control, errOut io.Writer) {
	c.halt, c.socket = o.Freeze, before
	o.Terms.Require, o.Terms.Know = append(o.Terms.Require, c.feature), []string{c.feature}
	o.Freeze = c.freeze
	o.Deadlines = handoff.Deadlines{Hello: StartLimit, Offer: stepLimit, Stage: stepLimit, Take: stepLimit}
	c.offer = o
	var err error
	if before == nil {
		err = c.listen()
	}
	if err != nil {
		fmt.Fprintf(errOut, "serve: no control socket, so upgrade and --takeover will not find this process: %v\n", err)
	}
	ctx, c.end = context.WithCancel(ctx)
	if !errors.Is(err, errors.ErrUnsupported) {
		c.visits.Go(func() { c.accept(ctx) })
	}
}

// watched is ctx under which a hand-off tells what points it passes.
func watched(ctx context.Context) context.Context {
	return handoffpoint.With(ctx, func(p handoffpoint.Point) { steps.Reached(string(p)) })
}

// listen makes the control socket.
func (c *Control) listen() error {
	path, err := controlPath(c.name)
	if err != nil {
		return err
	}
	socket, err := handoff.ListenControl(path)
	if err == nil {
		c.socket = socket
	}
	return err
}

// lookAgain is how often it is looked whether the control socket is still there.
const lookAgain = 2 * time.Second

func (c *Control) accept(ctx context.Context) {
	for ctx.Err() == nil {
		c.renew()
		limit, cancel := context.WithTimeout(ctx, lookAgain)
		conn, err := c.visitor(limit)
		cancel()
		switch {
		case err == nil:
			c.visits.Go(func() { c.visit(ctx, conn) })
		case limit.Err() != nil: // time to look again, or to end
		case errors.Is(err, net.ErrClosed): // handed over
			return
		default:
			c.log.Warn("control socket: upgrade and --takeover will not find this process any more", "error", err)
			return
		}
	}
}

// visitor waits for a process that connects.
func (c *Control) visitor(ctx context.Context) (*net.UnixConn, error) {
	if c.socket == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return c.socket.Accept(ctx)
}

// renew makes the control socket anew if it is not there, and no hand-off is going on.
func (c *Control) renew() {
	if c.socket != nil && !c.socket.Removed() || !c.giving.TryLock() {
		return
	}
	defer c.giving.Unlock()
	old := c.socket
	if err := c.listen(); err != nil {
		c.log.Debug("control socket", "error", err) // its directory may come back
		return
	}
	c.log.Info("control socket made anew", "path", c.socket.Path())
	if old != nil {
		_ = old.Close() // has no file any more
	}
}

// give hands the node over.
func (c *Control) give(ctx context.Context, ch *handoff.Channel) (handoff.Handed, error) {
	c.giving.RLock()
	defer c.giving.RUnlock()
	return c.offer.Give(watched(ctx), ch)
}

func (c *Control) visit(ctx context.Context, conn *net.UnixConn) {
	v, err := handoff.Hear(ctx, conn)
	if err != nil {
		c.log.Debug("control socket", "error", err)
		return
	}
	defer v.Close()
	request, asks := v.Request()
	switch {
	case c.fixed != nil:
		v.Refuse(c.fixed)
	case !asks:
		h, err := c.give(ctx, v.Channel())
		say(c.log, h, err)
		if h.Moved {
			c.leave()
		}
	case len(request) == 2 && request[0] == "upgrade":
		steps.Reached("owner: asked")
		h, err := c.upgrade(ctx, request[1])
		say(c.log, h, err)
		steps.Reached("owner: the hand-off is over")
		if !h.Moved && ctx.Err() != nil {
			_ = v.Answer(context.WithoutCancel(ctx), answerEnds)
			return
		}
		if !h.Moved {
			v.Refuse(err)
			return
		}
		answer := []string{answerUpgraded, fmt.Sprint(os.Getpid()), fmt.Sprint(h.Peer.PID)}
		var trouble *handoff.Error
		var failed *handoff.StartError
		if errors.As(err, &failed) {
			answer[0] = answerTroubled
			answer = append(answer, failed.Reason)
		} else if errors.As(err, &trouble) && trouble.Step == handoff.StepTake {
			answer[0] = answerSilent
			answer = append(answer, err.Error())
		} else if c.crew != nil {
			// the new process upgrades them, and can be asked about them
			answer = append(answer, askWorkers)
		}
		_ = v.Answer(context.WithoutCancel(ctx), answer...) // the process that asked may be gone
		steps.Reached("owner: answered")
		c.leave()
	case len(request) == 1 && request[0] == askWorkers && c.crew != nil:
		select {
		case <-c.crew.Done():
			_ = v.Answer(ctx, append([]string{askWorkers}, c.crew.Failures()...)...)
		case <-ctx.Done():
			v.Refuse(errors.New("serve ends"))
		}
	default:
		v.Refuse(fmt.Errorf("not a request: %q", request))
	}
}

// leave says that this process is not the node any more.
func (c *Control) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.Moved:
	default:
		close(c.Moved)
	}
}

// upgrade starts a new process, with this one's arguments, environment and standard streams, and
// hands it everything.
func (c *Control) upgrade(ctx context.Context, binary string) (h handoff.Handed, err error) {
	c.mu.Lock()
	busy := c.starting
	c.starting = true
	c.mu.Unlock()
	if busy {
		return h, handoff.ErrBusy
	}
	defer func() {
		c.mu.Lock()
		c.starting = false
		c.mu.Unlock()
	}()
	if binary == "" {
		binary = c.binary
	}
	next := &upgrade.Successor{
		Cmd:       &exec.Cmd{Path: binary, Args: os.Args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr},
		OnMain:    func() { steps.Reached("owner: the new process is the main one") },
		Listeners: c.beside(),
	}
	ch, err := next.Begin()
	if err != nil {
		return h, err
	}
	defer ch.Close()
	steps.Reached("owner: new process started")
	h, err = c.give(ctx, ch)
	if h.Moved {
		c.next = next
		return h, err
	}
	if how := next.GiveUp(); how != "" {
		err = fmt.Errorf("%w (%s ended: %s; is it this program? serve's standard error may say more)",
			err, binary, how)
	}
	return h, err
}

// Finish waits for a hand-off that is going on, and reports whether another process is the node
// now.
func (c *Control) Finish() bool {
	c.end()
	c.visits.Wait()
	select {
	case <-c.Moved:
		return true
	default:
		return false
	}
}

// Close is the last that this process does: it removes the control socket, or leaves it to the
// process that is the node now. ctx tells whether this process was told to end.
func (c *Control) Close(ctx context.Context) {
	defer c.before.Outlive()
	if c.Finish() {
		if c.next != nil {
			steps.Reached("owner: about to leave")
			if err := c.next.Follow(ctx, cli.Ends()...); err != nil {
				c.log.Warn("the service manager has not heard of the new process (NOTIFY_SOCKET)", "error", err)
			}
		}
		return
	}
	if c.socket == nil {
		return
	}
	path := c.socket.Path()
	if err := c.socket.Close(); err != nil {
		c.log.Warn("control socket", "error", err)
	}
	_ = os.Remove(filepath.Dir(path)) // fails if anything else is there
}

// controlPath is where the control socket of a node is. Its directory is made if need be.
func controlPath(name string) (string, error) {
	dir, err := config.PrivateDir(controlName(name), "set XDG_RUNTIME_DIR, for cnode-demo upgrade as well")
	return filepath.Join(dir, "control"), err
}

// controlName is the name of a directory for a node.
func controlName(name string) string {
	return strings.ReplaceAll(url.PathEscape(name), "%40", "@")
}

// ErrNoServe: nothing listens on the node's control socket.
var ErrNoServe = errors.New("no serve of this user runs as")

// dialControl connects to the process that is a node; errNoServe if there is none.
func dialControl(ctx context.Context, name string) (*handoff.Channel, error) {
	path := filepath.Join(config.OwnParent(), controlName(name), "control")
	ch, err := handoff.ConnectControl(ctx, path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w %s: %w", ErrNoServe, name, err)
	}
	return ch, err
}

// A Whole is what others see as one node: a node in this process alone, or a front with its
// workers.
type Whole interface {
	Config() *nodes.Config
	// Knows gives the forms of state that a previous process may hand over. The first is also the
	// form that this process hands over.
	Knows() []string
	// Crew is the upgrade of the previous process's workers; nil: this kind of node has no workers.
	Crew() Crew
	// Restore makes the node from what a previous process hands over; it runs once the result is
	// started.
	Restore(state []byte, fds []int) (handoff.Staged, error)

	// To be called only once it has been started or restored:

	Name() string
	Listeners() []*nodes.Listener
	Offer() *handoff.Offer
	// Beside are what else this process listens on, and the next one goes on with.
	Beside() []*upgrade.Listener
}

// A Crew is the upgrade of the workers after that of their front.
type Crew interface {
	Done() <-chan struct{} // closed when it is over
	Failures() []string    // which workers are not upgraded, and why
}

// Begin makes w run, by anew or as the successor of another process, and reachable for a successor
// of its own, unless fixed says why there can be none.
func Begin(ctx context.Context, s *Succession, w Whole, fixed error, anew func() error, errOut io.Writer) (*Control, error) {
	ch, err := s.Channel(ctx, w.Config().Name)
	if err != nil {
		return nil, err
	}
	c := newControl(w, fixed)
	var before *handoff.Control
	if ch == nil {
		err = anew()
	} else {
		h := &heir{whole: w, succession: s, errOut: errOut}
		err = h.take(ctx, ch)
		before = h.control // nil: there was none
	}
	if err != nil {
		return nil, err
	}
	c.Listeners, c.before = w.Listeners(), s.before
	c.run(ctx, w.Offer(), before, errOut)
	return c, nil
}
