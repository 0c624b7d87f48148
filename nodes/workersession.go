package nodes

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

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

// receiveNext receives a session and serves it on the same goroutine, which saves a change; the next one is received on another.
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
	w.p.line.say(word{Topic: sayTook, Part: viaForwarder})
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
	h := p.newStake(peerOf(data))
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
