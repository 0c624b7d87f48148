package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/spf13/pflag"
)

// workers are the flags by which several processes serve one node.
type workers struct {
	number   int
	dispatch string
}

func (w *workers) addTo(f *pflag.FlagSet) {
	f.IntVar(&w.number, "workers", 0, "`N` processes serve the connections of the one node; 0: this one does")
	f.StringVar(&w.dispatch, "dispatch", "name", "which worker gets a new connection, `name|least`: by the other node's name, or the "+
		"one\nthat has the fewest")
}

// check finds what is wrong with the flags, also beside those that go with one process only.
func (w *workers) check(o *options) error {
	switch {
	case w.number < 0 || w.number > 1024:
		return usagef("--workers %d: want 0 to 1024", w.number)
	case w.dispatch != "name" && w.dispatch != "least":
		return usagef("--dispatch %q: want name or least", w.dispatch)
	case w.number == 0 && w.dispatch != "name":
		return usagef("--dispatch is for --workers")
	case w.number > 0 && (o.virtual.trace != "" || o.virtual.fault != ""):
		return usagef("--trace and --fault are for one process, without --workers")
	}
	return nil
}

// serveFront runs the process that accepts for the workers, which are this program with the same arguments.
func serveFront(ctx context.Context, o *options, out, errOut io.Writer) error {
	cfg, err := o.servedConfig(ctx, errOut)
	if err != nil {
		return err
	}
	choose := nodes.Choose(nodes.ByName)
	if o.workers.dispatch == "least" {
		choose = nodes.LeastSessions
	}
	f, c, err := o.beginFront(ctx, nodes.FrontConfig{Node: cfg, Workers: o.workers.number, Choose: choose}, errOut)
	if err != nil {
		return err
	}
	defer c.close()
	listeners := f.Listeners()
	printReady(out, errOut, f.Name(), f.Addr())
	o.also.announce(out, listeners[1:])
	notifyManager()
	if warning := unreachable(ctx, f.Name(), f.Addr()); warning != "" {
		fmt.Fprintln(errOut, "serve: "+warning)
	}
	select {
	case <-ctx.Done():
	case <-c.moved:
	case l := <-firstDone(listeners): // some could not reach the node any more
		if !c.finish() {
			return errors.Join(l.Err(), f.Close())
		}
	}
	if c.finish() {
		return f.Close() // the other process has it: there is nothing but goroutines to end
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

// beginFront makes the front run, anew or as the successor of another process. Then the workers, which are the other one's as yet, are
// upgraded.
func (o *options) beginFront(ctx context.Context, cfg nodes.FrontConfig, errOut io.Writer) (*nodes.Front, *control, error) {
	ch, err := o.succession.channel(ctx, cfg.Node.Name)
	if err != nil {
		return nil, nil, err
	}
	c := newControl(o, cfg.Node, frontFeature)
	c.crew = &succeeding{done: make(chan struct{})}
	if ch == nil {
		close(c.crew.done)
		if err = o.activated(&cfg.Node); err != nil {
			return nil, nil, err
		}
		f, err := nodes.StartFront(ctx, cfg)
		if err != nil {
			return nil, nil, err
		}
		c.run(ctx, f.Offer(), nil, errOut)
		return f, c, nil
	}
	var staged *nodes.StagedFront
	knows := []string{frontFeature, earlierFront}
	h := &heir{cfg: cfg.Node, knows: knows, restore: func(state []byte, fds []int) (_ handoff.Staged, err error) {
		if staged, err = nodes.RestoreFront(cfg, state, fds); err != nil {
			return nil, err
		}
		if err = o.succession.listens(cfg.Node, staged.Front().Listeners()); err != nil {
			return nil, errors.Join(err, staged.Discard())
		}
		return staged, nil
	}}
	if err := h.take(ctx, ch, errOut); err != nil {
		return nil, nil, err
	}
	f := staged.Front()
	go c.crew.upgrade(ctx, f) // which ends with the front
	c.run(ctx, f.Offer(), h.control, errOut)
	return f, c, nil
}

// askWorkers is the request to a front that has just come: what has become of your workers?
const askWorkers = "workers"

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

// maxFailures bounds those that are told one by one: an answer has one packet.
const maxFailures = 20

// failures tells, once all is done, which workers are not upgraded.
func (s *succeeding) failures() (texts []string) {
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
func serveWorker(ctx context.Context, o *options, errOut io.Writer) error {
	signal.Ignore(os.Interrupt) // a terminal tells all of its processes, and the front tells its workers
	surviveTerminal()
	own := *o
	if own.epmd == "embedded" { // it is the front's
		own.epmd = "auto"
	}
	cfg, err := own.servedConfig(ctx, errOut)
	if err != nil {
		return err
	}
	k := keepPeer(&cfg)
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
	k.stop(limit)
	if err != nil {
		return errors.Join(err, w.Close())
	}
	err = w.Shutdown(limit)
	if errors.Is(err, context.DeadlineExceeded) {
		fmt.Fprintf(errOut, "serve: a worker cut off what was still running after %v\n", shutdownLimit)
		err = nil
	}
	return err
}
