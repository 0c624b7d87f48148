package nodes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// WorkerVariable is the environment variable by which a Front tells a process that it is a worker, and where its sockets are: the numbers
// of two descriptors, "LINE,SESSIONS". The first carries what front and worker say to each other, the second sessions in the form of
// handoff.Forwarder.
const WorkerVariable = "CNODE_WORKER"

// IsWorker tells whether a Front has started this process as one of its workers: then StartWorker is due, in place of StartFront.
func IsWorker() bool { return os.Getenv(WorkerVariable) != "" }

// ErrNotWorker is returned by StartWorker in a process that no Front has started.
var ErrNotWorker = errors.New("this process is not the worker of a front: " + WorkerVariable + " is not set")

// shutdownTime is how long a worker that is told to finish takes for it.
const shutdownTime = 5 * time.Second

// A Worker is one of several processes that are one node together: see Front.
type Worker struct {
	n      *Node
	p      *part
	inlet  *Listener
	inlets chan *net.UnixConn
	done   chan struct{}
	finish sync.Once
	moved  atomic.Bool // another process goes on as this worker
	wg     sync.WaitGroup

	mu    sync.Mutex
	work  []word        // what may wait, in order
	some  chan struct{} // holds a token while there is some, or something about it has changed
	doing way
}

// StartWorker makes this process a worker of the Front that has started it. cfg is that of the node, as for Start: Setup runs here,
// Listen and Publisher are the front's affair. The names that Setup registers exist in every worker, for the peers whose connections it
// has; names that are registered later are unique in the node. The name may be left empty; another name than the front's is ErrOtherNode.
// ctx bounds the start only. A second call is an error.
//
// A process that the front has started in the place of another worker's (see Front.UpgradeWorkers) takes over what that one has:
// connections, mailboxes, ways to the other workers. For Setup, processes that have a name, and Config.Handover it is then as with
// Restore.
func StartWorker(ctx context.Context, cfg Config) (*Worker, error) {
	w, err := startWorker(ctx, cfg)
	return w, wrap("start worker", "", err)
}

func startWorker(ctx context.Context, cfg Config) (*Worker, error) {
	if channel, ok := strings.CutPrefix(os.Getenv(WorkerVariable), moveMark); ok {
		return succeedWorker(ctx, cfg, channel)
	}
	lineConn, sessions, err := inheritedSockets()
	if err != nil {
		return nil, err
	}
	l, err := newLine(lineConn)
	if err != nil {
		return nil, errors.Join(err, lineConn.Close(), sessions.Close())
	}
	w := newWorker()
	w.inlets <- sessions
	welcome := make(chan word, 1)
	begin := make(chan struct{})
	w.wg.Go(func() { w.listenToFront(l, welcome, begin) })
	fail := func(err error) (*Worker, error) {
		l.close()
		w.wg.Wait()
		<-l.wrote
		w.closeInlets()
		return nil, err
	}
	var hello word
	select {
	case hello = <-welcome:
	case <-w.done:
		return fail(io.ErrUnexpectedEOF)
	case <-ctx.Done():
		return fail(ctx.Err())
	}
	if cfg.Name == "" && cfg.Alive == "" {
		cfg.Name, cfg.Host = hello.Name, ""
	}
	cfg.Creation = hello.Creation
	n, err := New(cfg)
	if err == nil && n.name != hello.Name {
		err = fmt.Errorf("%w: %q, and the front is %q", ErrOtherNode, n.name, hello.Name)
	}
	if err != nil {
		return fail(err)
	}
	w.join(n, newPart(n, hello.Part, l))
	n.ids.ref.Store(rand.Uint64() >> 1)
	n.started.Store(true)
	close(begin) // siblings and sessions may come; what they send waits in their sockets
	if err := n.setup(); err != nil {
		return fail(errors.Join(err, n.Close()))
	}
	w.p.settle()
	w.run()
	l.say(word{Topic: sayReady})
	return w, nil
}

func newWorker() *Worker {
	w := &Worker{inlets: make(chan *net.UnixConn, 64), done: make(chan struct{}), some: make(chan struct{}, 1)}
	w.doing.begin()
	return w
}

// join makes the worker that of a node.
func (w *Worker) join(n *Node, p *part) {
	w.n, w.p = n, p
	n.part = p
	w.inlet = n.newListener(n.cfg.Transport, nil)
}

// run begins what a worker does beside listening to the front.
func (w *Worker) run() {
	w.wg.Go(w.doWork)
	w.wg.Go(w.accept)
	w.wg.Go(w.receive)
}

// inheritedSockets takes the sockets of the environment, once.
func inheritedSockets() (line, sessions *net.UnixConn, err error) {
	one, other, ok := strings.Cut(os.Getenv(WorkerVariable), ",")
	a, err1 := strconv.Atoi(one)
	b, err2 := strconv.Atoi(other)
	if !ok || err1 != nil || err2 != nil || a < 3 || b < 3 {
		return nil, nil, ErrNotWorker
	}
	if line, err = inheritedSocket(a); err != nil {
		return nil, nil, err
	}
	if sessions, err = inheritedSocket(b); err != nil {
		return nil, nil, errors.Join(err, line.Close())
	}
	return line, sessions, nil
}

func inheritedSocket(fd int) (*net.UnixConn, error) {
	f := fileOf(fd)
	if f == nil {
		return nil, errors.ErrUnsupported
	}
	c, err := handoff.FileConn(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

// Node is the node, of which this process is a part.
func (w *Worker) Node() *Node { return w.n }

// Done is closed when the worker is to end: the front says so, or is gone, or another process goes on as this worker. Wait does what is
// due then.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Wait waits until the worker is to end, or ctx ends, and shuts the node down in good order, for a few seconds at the most. Where another
// process goes on as this worker there is nothing to shut down, and Wait comes back with nil; Node.Err is ErrMoved then.
func (w *Worker) Wait(ctx context.Context) error {
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	return w.Shutdown(limit)
}

// Shutdown is Node.Shutdown, and the end of what the worker has to do with the front.
func (w *Worker) Shutdown(ctx context.Context) error {
	return w.end(func() error { return w.n.Shutdown(ctx) })
}

// Close is Node.Close, and the end of what the worker has to do with the front.
func (w *Worker) Close() error { return w.end(w.n.Close) }

func (w *Worker) end(node func() error) error {
	_ = w.n.unfrozen(context.Background())
	if w.moved.Load() {
		node = w.n.Close
	}
	w.inlet.end(ErrClosed)
	err := node()
	w.p.line.close()
	w.wg.Wait()
	<-w.p.line.wrote
	w.closeInlets()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.work {
		w.work[i].drop()
	}
	w.work = nil
	return err
}

func (w *Worker) closeInlets() {
	for {
		select {
		case c := <-w.inlets:
			_ = c.Close()
		default:
			return
		}
	}
}

// listenToFront takes what the front says, until the line ends.
func (w *Worker) listenToFront(l *line, welcome chan<- word, begin <-chan struct{}) {
	defer w.finished()
	first := true
	_ = l.read(func(m word) { // that it has ended is all there is to know
		if first {
			first = false
			if m.Topic != sayWelcome {
				m.drop()
				l.close()
				return
			}
			welcome <- m
			select {
			case <-begin:
			case <-l.over:
			}
			return
		}
		select {
		case <-begin:
			w.take(m)
		default:
			m.drop()
		}
	})
}

func (w *Worker) finished() { w.finish.Do(func() { close(w.done) }) }

// take does what the front says.
func (w *Worker) take(m word) {
	p := w.p
	switch m.Topic {
	case saySibling:
		p.addSibling(m)
		return
	case sayProbe:
		p.line.say(word{Topic: sayHere, ID: m.ID})
	case sayAnswer:
		p.answered(m)
	case saySession:
		p.line.say(word{Topic: sayTook, Part: 1})
		if serve := w.session(m.fd, m.Plugin, m.State, m.Data); serve != nil {
			w.wg.Go(serve)
		}
		return
	case saySessions:
		if conn, err := inheritedSocket(m.fd); err == nil {
			select {
			case w.inlets <- conn:
			default:
				_ = conn.Close()
			}
		}
		return
	case sayDrop:
		if c := p.n.Conn(m.Name); c != nil && !c.shadow {
			c.fail(ErrSuperseded)
		}
	case sayMeet:
		p.beginMeet(meeting{m.Name, m.Part})
	case sayShadow:
		if m.Peer == nil || dist.CheckName(m.Peer.Name) != nil || m.fd == 0 {
			break
		}
		w.mu.Lock()
		w.work = append(w.work, m)
		w.mu.Unlock()
		w.wake()
		return
	case sayMove:
		if m.fd > 0 {
			w.wg.Go(func() { w.give(m.fd, m.ID) })
			return
		}
	case sayNone:
		p.tellAwaited(m.Name, errElsewhere)
	case sayFinish:
		w.finished()
	}
	m.drop()
}

// wake has doWork look again.
func (w *Worker) wake() {
	select {
	case w.some <- struct{}{}:
	default:
	}
}

// doWork does in order what may have to wait: it takes the ways to peers that other workers have.
func (w *Worker) doWork() {
	for {
		w.mu.Lock()
		if w.doing.runs {
			w.doing.stop()
		}
		if w.doing.halted || len(w.work) == 0 {
			w.mu.Unlock()
			select {
			case <-w.some:
			case <-w.p.line.over:
				return
			}
			continue
		}
		m := w.work[0]
		w.work = w.work[1:]
		w.doing.runs = true
		w.mu.Unlock()
		w.p.addShadow(m)
	}
}

// accept takes connections that are up; they serve themselves.
func (w *Worker) accept() {
	for {
		select {
		case <-w.inlet.up:
		case <-w.inlet.ctx.Done():
			return
		}
	}
}

// receive takes sessions in the form of BIND 10.
func (w *Worker) receive() {
	for {
		select {
		case conn := <-w.inlets:
			w.receiveFrom(conn)
		case <-w.p.line.over:
			return
		}
	}
}

func (w *Worker) receiveFrom(conn *net.UnixConn) {
	r, err := handoff.NewReceiver(conn, nil)
	if err != nil {
		w.n.log.Error("no sessions can be received", "error", errors.Join(err, conn.Close()))
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-w.p.line.over:
			cancel()
		case <-stop:
		}
	}()
	ended := make(chan struct{})
	w.wg.Go(func() { w.receiveNext(ctx, r, ended) })
	<-ended
	_ = r.Close()
}

// receiveNext receives a session, leaves the next one to another goroutine, and serves it, which saves the change to one at this point.
func (w *Worker) receiveNext(ctx context.Context, r *handoff.Receiver, ended chan<- struct{}) {
	var s handoff.Session
	err := r.Receive(ctx, &s)
	if err != nil {
		if err != io.EOF && ctx.Err() == nil { // the front has given up in the middle of one, and sends on through another socket
			w.n.log.Debug("sessions end", "error", err)
		}
		_ = s.Close()
		close(ended)
		return
	}
	w.p.line.say(word{Topic: sayTook})
	fd, err := s.Socket.Steal(0)
	var serve func()
	if err == nil {
		serve = w.session(fd, w.n.cfg.Transport.Name(), nil, s.Data)
	}
	w.wg.Go(func() { w.receiveNext(ctx, r, ended) })
	if serve != nil {
		serve()
	}
}

// session takes a socket whose first packet the front has read; what it returns, if anything, does the handshake, and must be called.
func (w *Worker) session(fd int, plugin string, state, data []byte) (serve func()) {
	p, n := w.p, w.n
	h := p.newHold(peerOf(data))
	tr, err := n.carrier(plugin)
	var s *transport.Stream
	if err == nil {
		s, err = tr.Import(fd, state)
	}
	if err != nil {
		err = errors.Join(err, closeDescriptor(fd))
	} else if err = s.Preload(data); err != nil {
		err = errors.Join(err, s.Close())
	}
	if err != nil {
		n.log.Error("a session could not be taken", "plugin", plugin, "error", err)
		h.over()
		return nil
	}
	l := w.inlet
	if tr.Name() != l.tr.Name() {
		l = &Listener{n: n, tr: tr, up: l.up, ctx: l.ctx, end: l.end}
	}
	ctx, e := l.admit()
	order := n.arrivals.Add(1)
	n.shaking.enter()
	return func() { l.handshake(ctx, e, s, order, h) }
}
