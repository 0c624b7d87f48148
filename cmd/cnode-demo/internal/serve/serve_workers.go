package serve

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/nodes"
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
	u := o.upgrader(cfg)
	u.ShutdownTimeout = frontLimit
	f, err := u.StartFront(ctx, nodes.FrontConfig{Node: u.Config, Workers: o.workers.number, Choose: o.workers.choose()})
	if err != nil {
		return o.explained(cfg.Name, err)
	}
	o.announce(ctx, f.Name(), f.Listeners(), out, errOut)
	return cutOff(run(ctx, u, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
		case <-f.Done():
		case l := <-firstDone(f.Listeners()[1:]): // the node cannot be reached at that address any more
			return broken(l)
		}
		return nil
	}, f.Shutdown), "", frontLimit, errOut)
}

// frontLimit bounds the shutdown of the front, which waits for workers that have shutdownLimit.
const frontLimit = 2 * shutdownLimit

// choose is the way that the flags ask for.
func (w *workers) choose() nodes.WorkerChoice {
	if w.dispatch == "least" {
		return nodes.WorkerBySessions
	}
	return nodes.WorkerByName
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
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	return cutOff(errors.Join(err, k.endThen(limit, w.Shutdown)), "a worker ", shutdownLimit, errOut)
}
