package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/cli"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/config"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/move"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/spf13/pflag"
)

// workers are the flags by which several processes serve one node.
type workers struct {
	number   int
	dispatch string
}

func (w *workers) addTo(f *pflag.FlagSet) {
	f.IntVar(&w.number, "workers", 0, "`N` processes serve the connections of the one node; 0: this process does")
	f.StringVar(&w.dispatch, "dispatch", "name", "which worker gets a new connection, `name|least`: by the other node's name, or the "+
		"one\nthat has the fewest")
}

// check finds what is wrong with the flags, also together with flags that require a single process.
func (w *workers) check(v *config.Virtual) error {
	switch {
	case w.number < 0 || w.number > 1024:
		return cli.Usagef("--workers %d: want 0 to 1024", w.number)
	case w.dispatch != "name" && w.dispatch != "least":
		return cli.Usagef("--dispatch %q: want name or least", w.dispatch)
	case w.number == 0 && w.dispatch != "name":
		return cli.Usagef("--dispatch is for --workers")
	case w.number > 0 && (v.Trace != "" || v.Fault != ""):
		return cli.Usagef("--trace and --fault are for one process, without --workers")
	}
	return nil
}

// serveFront runs the process that accepts for the workers, which are this program with the same
// arguments.
func serveFront(ctx context.Context, o *server, out, errOut io.Writer) error {
	cfg, err := o.servedConfig(ctx, errOut)
	if err != nil {
		return err
	}
	w := o.workers.front(cfg)
	c, err := o.begin(ctx, w, w.start, errOut)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	if w.restored { // its workers were started by the previous process
		go w.crew.upgrade(ctx, w.Front) // ends with the front
	}
	o.announce(ctx, w.Name(), c.Listeners, out, errOut)
	defer upgrade.NotifyWatchdog()()
	select {
	case <-ctx.Done():
	case <-c.Moved:
	case l := <-firstDone(c.Listeners): // the node cannot be reached at that address any more
		err = l.Err()
	}
	if c.Finish() {
		return w.Close() // another process is the node: only goroutines are left to end
	}
	return w.end(ctx, err, errOut)
}

// frontLimit bounds the shutdown of the front, which waits for workers that have shutdownLimit.
const frontLimit = 2 * shutdownLimit

// A withWorkers is a front with its workers.
type withWorkers struct {
	cfg      nodes.FrontConfig
	crew     *succeeding
	restored bool
	*nodes.Front
}

// front prepares the front that the flags ask for.
func (w *workers) front(cfg nodes.Config) *withWorkers {
	choose := nodes.Choose(nodes.ByName)
	if w.dispatch == "least" {
		choose = nodes.LeastSessions
	}
	return &withWorkers{
		cfg:  nodes.FrontConfig{Node: cfg, Workers: w.number, Choose: choose},
		crew: &succeeding{done: make(chan struct{})},
	}
}

func (w *withWorkers) Config() *nodes.Config { return &w.cfg.Node }
func (w *withWorkers) Knows() []string       { return []string{move.FrontFeature} }
func (w *withWorkers) Crew() move.Crew       { return w.crew }

// Beside is nothing: see operated.check.
func (w *withWorkers) Beside() []*upgrade.Listener { return nil }

func (w *withWorkers) start(ctx context.Context) (err error) {
	close(w.crew.done)
	w.Front, err = nodes.StartFront(ctx, w.cfg)
	return err
}

func (w *withWorkers) Restore(state []byte, fds []int) (handoff.Staged, error) {
	staged, err := nodes.RestoreFront(w.cfg, state, fds)
	if err != nil {
		return nil, err
	}
	w.Front, w.restored = staged.Front(), true
	return staged, nil
}

// end ends the front and its workers: in good order within frontLimit, or at once after trouble.
func (w *withWorkers) end(ctx context.Context, trouble error, errOut io.Writer) error {
	if trouble != nil {
		return errors.Join(trouble, w.Close())
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), frontLimit)
	defer cancel()
	return cutOff(w.Shutdown(limit), "", frontLimit, errOut)
}

// A succeeding is the upgrade of the workers after that of the front.
type succeeding struct {
	done chan struct{}
	list []nodes.WorkerUpgrade
	err  error
}

func (s *succeeding) upgrade(ctx context.Context, f *nodes.Front) {
	defer close(s.done)
	s.list, s.err = f.UpgradeWorkers(ctx)
}

// maxFailures bounds the failures that are listed one by one: an answer is a single packet.
const maxFailures = 20

// Done is closed when the upgrade is over.
func (s *succeeding) Done() <-chan struct{} { return s.done }

// Failures says, once the upgrade is over, which workers are not upgraded.
func (s *succeeding) Failures() (texts []string) {
	if s.err != nil {
		return []string{s.err.Error()}
	}
	failed := 0
	for _, u := range s.list {
		if u.Err == nil {
			continue
		}
		if failed++; failed <= maxFailures {
			texts = append(texts, fmt.Sprintf("worker %d (process %d): %.500s", u.Slot, u.Old, u.Err))
		}
	}
	if failed > maxFailures {
		texts = append(texts, fmt.Sprintf("and %d more", failed-maxFailures))
	}
	return texts
}

// serveWorker runs a worker, until the front tells it to finish, or is gone.
func serveWorker(ctx context.Context, o *server, out, errOut io.Writer) error {
	// Ctrl-C reaches every process of a terminal, and the front tells its workers itself
	signal.Ignore(os.Interrupt)
	cli.SurviveTerminal()
	if o.Epmd == "embedded" { // the port mapper is inside the front
		o.Epmd = "auto"
	}
	cfg, err := o.servedConfig(ctx, errOut)
	if err != nil {
		return err
	}
	k := keepPeer(ctx, &cfg, o, out)
	w, err := nodes.StartWorker(ctx, cfg)
	if err != nil {
		return err
	}
	err = k.supervise(ctx, w.Node(), w.Done(), nil)
	if errors.Is(w.Node().Err(), nodes.ErrMoved) {
		return w.Wait(context.WithoutCancel(ctx))
	}
	return k.end(ctx, w, err, "a worker ", errOut)
}
