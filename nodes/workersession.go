package nodes

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A sessionSocket is one through which sessions come. The front has given it its number; that of the first one is 0.
type sessionSocket struct {
	conn   *net.UnixConn
	number uint64
}

// receive takes sessions in the form of BIND 10.
func (w *Worker) receive() {
	for {
		select {
		case s := <-w.inlets:
			if err := w.receiveFrom(s.conn); err != nil {
				w.shut(s.number, err)
			}
		case <-w.p.line.over:
			return
		}
	}
}

// shut says that a socket for sessions is no more, behind all that was taken out of it. It has been closed: nothing more can be lost in it.
func (w *Worker) shut(number uint64, err error) {
	w.n.log.Error("sessions are lost", "error", err)
	w.p.line.say(word{Topic: sayShut, ID: number})
}

// receiveFrom takes sessions out of a socket until the front has closed it. An error loses what is still in there.
func (w *Worker) receiveFrom(conn *net.UnixConn) error {
	r, err := handoff.NewReceiver(conn, nil)
	if err != nil {
		return errors.Join(err, conn.Close())
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
	ended := make(chan error, 1)
	w.wg.Go(func() { w.receiveSessions(ctx, r, ended) })
	err = <-ended
	_ = r.Close()
	switch {
	case err == io.EOF || ctx.Err() != nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF): // the front has given up in the middle of one, and sends on through another socket
		w.n.log.Debug("sessions end", "error", err)
		return nil
	}
	return err
}

// receiveSessions receives sessions and holds their handshakes, as Listener.run does, until another goroutine takes its place or there
// are no more.
func (w *Worker) receiveSessions(ctx context.Context, r *handoff.Receiver, ended chan<- error) {
	var s handoff.Session
	for {
		err := r.Receive(ctx, &s)
		if err != nil {
			_ = s.Close()
			ended <- err
			return
		}
		w.p.line.say(word{Topic: sayTook, Part: viaForwarder})
		fd, err := s.Socket.Steal(0)
		if err != nil {
			continue
		}
		serve := w.session(fd, carriage{plugin: w.n.cfg.Transport.Name()}, nil, s.Data)
		if serve != nil && !w.shakeHere(serve, func() { w.receiveSessions(ctx, r, ended) }) {
			return
		}
	}
}

// shakeHere holds a handshake, on this goroutine if the last one was quick. It reports whether the caller is to go on, else next does so in
// its place.
func (w *Worker) shakeHere(serve, next func()) (goOn bool) {
	l := w.inlet
	if !l.quick.Load() {
		w.wg.Go(func() {
			began := time.Now()
			serve()
			if time.Since(began) < quickHandshake {
				l.quick.Store(true)
			}
		})
		return true
	}
	w.wg.Add(1)
	relief := time.AfterFunc(quickHandshake, func() {
		defer w.wg.Done()
		l.quick.Store(false) // now: the next ones are not to be held up by as much each
		next()
	})
	serve()
	if relief.Stop() {
		w.wg.Done()
		return true
	}
	return false
}

// session takes a socket whose first packet the front has read; what it returns, if anything, does the handshake, and must be called.
func (w *Worker) session(fd int, carried carriage, state, data []byte) (serve func()) {
	p, n := w.p, w.n
	h := p.newStake(peerOf(data))
	tr, s, err := w.open(fd, carried, state)
	if err == nil {
		if err = s.Preload(data); err != nil {
			err = errors.Join(err, s.Close())
		}
	}
	if err != nil {
		n.log.Error("a session could not be taken", "plugin", carried.plugin, "error", err)
		h.over(true)
		return nil
	}
	l := w.inletOf(carried, tr)
	ctx, e := l.admit()
	order := n.arrivals.Add(1)
	n.shaking.enter()
	return func() { l.handshake(ctx, e, s, order, h) }
}

// open makes a stream of a socket that has come; 0 is one that was lost on its way.
func (w *Worker) open(fd int, carried carriage, state []byte) (transport.Transport, *transport.Stream, error) {
	if fd == 0 {
		return nil, nil, errLost
	}
	tr, err := w.n.carrier(carried)
	var s *transport.Stream
	if err == nil {
		s, err = transport.ImportAccepted(tr, fd, state)
	}
	if err != nil {
		err = errors.Join(err, closeDescriptor(fd))
	}
	return tr, s, err
}

// inletOf is what counts the handshakes over a transport: w.inlet, and one for each further one.
func (w *Worker) inletOf(carried carriage, tr transport.Transport) *Listener {
	first := w.inlet
	if carried == (carriage{plugin: first.tr.Name()}) {
		return first
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.further[carried]
	if l == nil {
		l = &Listener{n: w.n, tr: tr, ctx: first.ctx, end: first.end}
		l.serves.Store(true)
		if w.further == nil {
			w.further = map[carriage]*Listener{}
		}
		w.further[carried] = l
	}
	return l
}

func (w *Worker) closeInlets() {
	for {
		select {
		case s := <-w.inlets:
			_ = s.conn.Close()
		default:
			return
		}
	}
}
