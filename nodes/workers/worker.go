package workers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/inside"
	"github.com/cnode-go/cnode/nodes/internal/life"
	"github.com/cnode-go/cnode/nodes/internal/nametable"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// IsWorker tells whether a Front has started this process as one of its workers: then call Join,
// not Start. It stays true after that, and is false in processes that the worker starts.
func IsWorker() bool {
	return inside.IsWorker()
}

// ErrIsWorker is returned by Start and Restore in a process that is a worker: its own workers would
// do the same.
var ErrIsWorker = errors.New("this process is the worker of a front: Join is due, see IsWorker")

// ErrNotWorker is returned by Join in a process that no Front has started, and by a second call.
var ErrNotWorker = errors.New("this process is not the worker of a front: " + inside.Variable + " is not set, or used up")

// shutdownTime is how long a worker that is told to finish may take for it.
func (n *node) shutdownTime() time.Duration {
	_, grace := n.Farewell()
	return 5*time.Second + grace
}

// A Worker is one of several processes that together are one node: see Front.
type Worker struct {
	n         *node
	p         *part
	inlets    chan sessionSocket
	taking    context.Context // the context of the handshakes
	endTaking context.CancelCauseFunc
	done      chan struct{}
	finish    sync.Once
	reached   func(handoffpoint.Point) // for tests: see handoffpoint.With
	moved     atomic.Bool              // another process goes on as this worker
	wg        sync.WaitGroup
}

// Join makes this process a worker of the Front that has started it. cfg is that of the node, as
// for nodes.Node.Start: Setup runs here, Listen and Publisher are the front's affair. The names
// that Setup registers exist in every worker, for the peers whose connections it has; names that
// are registered later are unique in the node. cfg's name may be empty; a name other than the
// front's is nodes.ErrOtherNode. ctx bounds only the start. A second call is an error.
//
// A process that the front has started to replace a worker's process (see Front.UpgradeWorkers)
// takes over what that one has: connections, mailboxes, ways to the other workers. Setup, named
// processes and nodes.Config.Handover are then treated as by nodes.Restore; processes that Setup
// has not registered, Servers too, are plain mailboxes, with which somebody has to go on, or which
// are to be closed: see Worker.Mailboxes.
func Join(ctx context.Context, cfg nodes.Config) (*Worker, error) {
	w, err := startWorker(ctx, cfg)
	return w, wrap("start worker", "", err)
}

func startWorker(ctx context.Context, cfg nodes.Config) (*Worker, error) {
	inherited := os.Getenv(inside.Variable)
	if inherited == "" || strings.HasPrefix(inherited, inside.TakenMark) {
		return nil, ErrNotWorker
	}
	if err := os.Setenv(inside.Variable, inside.Taken()); err != nil {
		return nil, err
	}
	if channel, ok := strings.CutPrefix(inherited, talk.MoveMark); ok {
		return succeedWorker(ctx, cfg, channel)
	}
	lineConn, sessions, err := inheritedSockets(inherited)
	if err != nil {
		return nil, err
	}
	l, err := talk.New(lineConn)
	if err != nil {
		return nil, errors.Join(err, lineConn.Close(), sessions.Close())
	}
	w := newWorker(handoffpoint.Of(ctx))
	w.inlets <- sessionSocket{conn: sessions}
	if err := w.start(ctx, cfg, l); err != nil {
		l.Close()
		w.wg.Wait()
		<-l.Wrote()
		w.closeInlets()
		if w.p != nil {
			w.p.remoteLinks.Drop()
		}
		return nil, err
	}
	return w, nil
}

// start makes the worker from what the front says through l, its line, and runs it. On failure the
// line stays the caller's, and so does what the worker has.
func (w *Worker) start(ctx context.Context, cfg nodes.Config, l *talk.Line) error {
	heard, err := l.First(ctx)
	if err != nil {
		return err
	}
	n, names, part, err := welcomed(cfg, heard[0])
	talk.Drop(heard[0])
	if err != nil {
		talk.DropAll(heard[1:])
		return err
	}
	w.join(n, newPart(n, part, l))
	w.p.nameTable = names
	n.Started.Store(true)
	w.listen(heard[1:]) // worker links and sessions may come; what they send waits in their sockets
	if err := n.SetUp(); err != nil {
		err = errors.Join(err, n.Close())
		names.Close()
		return err
	}
	w.p.endSetup()
	w.run()
	_ = n.Running()
	l.Say(&talk.Ready{})
	return nil
}

// welcomed makes the node that the front's first message describes, and opens the name table that
// comes with the message.
func welcomed(cfg nodes.Config, first talk.Message) (n *node, names *nametable.Table, part int, err error) {
	hello, ok := first.(*talk.Welcome)
	if !ok {
		return nil, nil, 0, fmt.Errorf("the front begins with a message that is no welcome: %T", first)
	}
	part = hello.Part
	if cfg.Name == "" && cfg.Alive == "" {
		cfg.Name, cfg.Host = hello.Name, ""
	}
	cfg.Creation = hello.Creation
	made, err := nodes.New(cfg)
	if err != nil {
		return nil, nil, 0, err
	}
	n = insideOf(made)
	if n.Name() != hello.Name {
		err = fmt.Errorf("%w: %q, and the front is %q", nodes.ErrOtherNode, n.Name(), hello.Name)
	}
	if err == nil && hello.FD > 0 {
		names, err = nametable.Open(talk.Keep(hello).FD)
	}
	return n, names, part, err
}

func newWorker(reached func(handoffpoint.Point)) *Worker {
	return &Worker{reached: reached, inlets: make(chan sessionSocket, 64), done: make(chan struct{})}
}

// join makes w the worker of a node.
func (w *Worker) join(n *node, p *part) {
	w.n, w.p = n, p
	n.BeWorker(p, p.id)
	w.taking, w.endTaking = context.WithCancelCause(n.Ctx)
}

// run begins what a worker does besides listening to the front.
func (w *Worker) run() {
	w.wg.Go(w.takeRemoteLinks)
	w.wg.Go(w.receive)
}

// inheritedSockets takes the sockets that the environment has named.
func inheritedSockets(text string) (line, sessions *net.UnixConn, err error) {
	one, other, ok := strings.Cut(text, ",")
	a, err1 := strconv.Atoi(one)
	b, err2 := strconv.Atoi(other)
	if !ok || err1 != nil || err2 != nil || a < 3 || b < 3 {
		return nil, nil, ErrNotWorker
	}
	if line, err = descriptor.Conn(a); err != nil {
		return nil, nil, err
	}
	if sessions, err = descriptor.Conn(b); err != nil {
		return nil, nil, errors.Join(err, line.Close())
	}
	return line, sessions, nil
}

// Node is the node, of which this process is a part.
func (w *Worker) Node() *nodes.Node { return w.n.Node }

// Done is closed when the worker has to end: the front says so, or is gone, or another process goes
// on as this worker. Wait does what has to be done then.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Wait waits until the worker has to end, or ctx ends, and shuts the node down in an orderly way,
// for nodes.Config.DrainGrace and a few seconds at most. If another process goes on as this worker
// there is nothing to shut down, and Wait returns nil; Node.Err is then nodes.ErrMoved.
func (w *Worker) Wait(ctx context.Context) error {
	ctx = wait.Ending(ctx)
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	_ = w.n.Life.Before(context.Background(), life.Draining) // nothing is to be cut off because it stands still
	limit, cancel := context.WithTimeout(context.Background(), w.n.shutdownTime())
	defer cancel()
	return w.Shutdown(limit)
}

// Shutdown is Node.Shutdown, with its waits and errors, and ends the worker's ties to the front. If
// another process goes on as this worker, once a freeze is over, only what is left here is closed.
// If ctx ends during a freeze nothing has changed.
func (w *Worker) Shutdown(ctx context.Context) error {
	if err := w.n.Life.Before(ctx, life.Draining); err != nil {
		return wrap("shutdown", w.n.Name(), err)
	}
	return w.end(func() error { return w.n.Shutdown(ctx) })
}

// Close is Node.Close, with its waits and errors, and ends the worker's ties to the front.
func (w *Worker) Close() error { return w.end(w.n.Close) }

func (w *Worker) end(node func() error) error {
	_ = w.n.Life.Before(context.Background(), life.Draining)
	if w.moved.Load() {
		node = w.n.Close
	}
	w.endTaking(nodes.ErrClosed)
	err := node()
	w.p.line.Close()
	w.wg.Wait()
	<-w.p.line.Wrote()
	w.p.nameTable.Close()
	w.closeInlets()
	w.p.remoteLinks.Drop()
	return err
}
