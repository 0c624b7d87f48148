package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/cnode-go/cnode/nodes"
	"github.com/spf13/pflag"
)

// workers are the flags by which several processes serve one node.
type workers struct {
	number   int
	dispatch string
}

func (w *workers) addTo(f *pflag.FlagSet) {
	f.IntVar(&w.number, "workers", 0, "`N` processes serve the connections of the one node; 0: this one does")
	f.StringVar(&w.dispatch, "dispatch", "name", "which worker gets a new connection, `name|least`: by the other node's name, or the one\nthat has the fewest")
}

// check finds what is wrong with the flags, also beside those that go with one process only.
func (w *workers) check(o *options) error {
	switch {
	case w.number < 0 || w.number > 1024:
		return usagef("--workers %d: want 0 to 1024", w.number)
	case w.dispatch != "name" && w.dispatch != "least":
		return usagef("--dispatch %q: want name or least", w.dispatch)
	case w.number > 0 && (o.virtual.trace != "" || o.virtual.fault != ""):
		return usagef("--trace and --fault are for one process, without --workers")
	case w.number > 0 && len(o.also.given) > 0:
		return usagef("--also is for one process, without --workers")
	case w.number > 0 && o.succession.coming():
		return usagef("--takeover is for one process, without --workers")
	}
	return nil
}

// serveFront runs the process that accepts for the workers, which are this program with the same arguments.
func serveFront(ctx context.Context, o *options, out, errOut io.Writer) error {
	name, err := o.fullName(defaultName)
	if err != nil {
		return err
	}
	cfg, release, err := o.serveConfig(ctx, name, o.logger(errOut))
	if err != nil {
		return err
	}
	defer release()
	o.polling.over(&cfg)
	choose := nodes.Choose(nodes.ByName)
	if o.workers.dispatch == "least" {
		choose = nodes.LeastSessions
	}
	f, err := nodes.StartFront(ctx, nodes.FrontConfig{Node: cfg, Workers: o.workers.number, Choose: choose})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "ready %s %s\n", f.Name(), place(f.Addr()))
	if warning := unreachable(ctx, f.Name(), f.Addr()); warning != "" {
		fmt.Fprintln(errOut, "serve: "+warning)
	}
	select {
	case <-ctx.Done():
	case <-f.Listener().Done(): // nobody could reach the node any more
		return errors.Join(f.Listener().Err(), f.Close())
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*shutdownLimit)
	defer cancel()
	err = f.Shutdown(limit)
	if errors.Is(err, context.DeadlineExceeded) {
		fmt.Fprintf(errOut, "serve: cut off what was still running after %v\n", 2*shutdownLimit)
		err = nil
	}
	return err
}

// serveWorker runs a worker, until the front tells it to finish, or is gone.
func serveWorker(ctx context.Context, o *options, errOut io.Writer) error {
	signal.Ignore(os.Interrupt) // a terminal tells all of its processes, and the front tells its workers
	name, err := o.fullName(defaultName)
	if err != nil {
		return err
	}
	own := *o
	if own.epmd == "embedded" { // it is the front's
		own.epmd = "auto"
	}
	cfg, release, err := own.serveConfig(ctx, name, o.logger(errOut))
	if err != nil {
		return err
	}
	defer release()
	o.polling.over(&cfg)
	var p *peer
	cfg.Setup = func(n *nodes.Node) (err error) {
		expose(n)
		p, err = startPeer(n)
		return err
	}
	w, err := nodes.StartWorker(ctx, cfg)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
		case <-w.Done():
		case <-p.box.Done(): // killed by somebody: a new one, as from a supervisor
			p.stop(ctx)
			if p, err = startPeer(w.Node()); err != nil {
				return errors.Join(err, w.Close())
			}
			continue
		}
		break
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	p.stop(limit)
	err = w.Shutdown(limit)
	if errors.Is(err, context.DeadlineExceeded) {
		fmt.Fprintf(errOut, "serve: a worker cut off what was still running after %v\n", shutdownLimit)
		err = nil
	}
	return err
}
