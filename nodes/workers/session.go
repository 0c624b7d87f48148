package workers

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// A sessionSocket is a socket through which sessions come, and the number that the front has given
// it; that of the first one is 0.
type sessionSocket struct {
	conn   *net.UnixConn
	number uint64
}

// receive takes sessions in the format of BIND 10, out of one socket after the other.
func (w *Worker) receive() {
	for {
		select {
		case s := <-w.inlets:
			if err := w.receiveFrom(s.conn); err != nil {
				w.socketLost(s.number, err)
			}
		case <-w.p.line.Over():
			return
		}
	}
}

// socketLost tells the front that a socket for sessions is no more, after all that was taken out of
// the socket. It has been closed: nothing more can be lost in it.
func (w *Worker) socketLost(number uint64, err error) {
	w.n.Log.Error("sessions are lost", "error", err)
	w.p.line.Say(&talk.SocketLost{Number: number})
}

// receiveFrom takes sessions out of a socket until the front has closed it. If it returns an error
// what is still in the socket is lost.
func (w *Worker) receiveFrom(conn *net.UnixConn) error {
	r, err := bind10.NewReceiver(conn, nil)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-w.p.line.Over():
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
	// the front has given up in the middle of a session, and sends on through another socket
	case errors.Is(err, io.ErrUnexpectedEOF):
		w.n.Log.Debug("sessions end", "error", err)
		return nil
	}
	return err
}

// receiveSessions receives sessions, whose handshakes run concurrently, until there are no more.
func (w *Worker) receiveSessions(ctx context.Context, r *bind10.Receiver, ended chan<- error) {
	var s bind10.Session
	for {
		err := r.Receive(ctx, &s)
		if err != nil {
			_ = s.Close()
			ended <- err
			return
		}
		w.p.line.Say(&talk.Took{Via: talk.ViaForwarder})
		fd, err := s.Socket.Steal(0)
		if err != nil {
			continue
		}
		shake := w.session(fd, states.TransportID{Plugin: w.n.Setting().Transport.Name()}, nil, s.Data)
		if shake != nil {
			w.wg.Go(shake)
		}
	}
}

// session takes a socket from which the front has read the first packet; nil if that has failed.
func (w *Worker) session(fd int, carried states.TransportID, state, data []byte) (shake func()) {
	p, n := w.p, w.n
	h := p.newFrontClaim(talk.PeerOf(data))
	tr, s, err := w.open(fd, carried, state)
	if err == nil {
		if err = s.Preload(data); err != nil {
			err = errors.Join(err, s.Close())
		}
	}
	if err != nil {
		n.Log.Error("a session could not be taken", "plugin", carried.Plugin, "error", err)
		h.untaken()
		return nil
	}
	return n.Admit(w.taking, tr, s, h)
}

// open makes a stream of a socket that has come; fd is 0 if the socket was lost on its way.
func (w *Worker) open(fd int, carried states.TransportID, state []byte) (transport.Transport, *transport.Stream, error) {
	if fd == 0 {
		return nil, nil, talk.ErrLost
	}
	tr, err := w.n.TransportOf(carried)
	var s *transport.Stream
	if err == nil {
		s, err = tr.Import(fd, state)
		clear(state) // it may hold keys
	}
	if err != nil {
		err = errors.Join(err, descriptor.Close(fd))
	}
	return tr, s, err
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

// listen handles what the front says, until the line ends, beginning with heard, the messages that
// have been read already.
func (w *Worker) listen(heard []talk.Message) {
	w.wg.Go(func() {
		defer w.finished()
		for _, m := range heard {
			w.take(m)
		}
		_ = w.p.line.Read(w.take) // all there is to know is that the line has ended
		w.p.line.Close()          // nobody waits for a front that is gone
	})
}

func (w *Worker) finished() { w.finish.Do(func() { close(w.done) }) }

// take does what a message of the front asks for.
func (w *Worker) take(m talk.Message) {
	defer talk.Drop(m)
	p := w.p
	switch m := m.(type) {
	case *talk.WorkerLink:
		p.addWorkerLink(talk.Keep(m))
	case *talk.Probe:
		p.line.Say(&talk.Here{ID: m.ID})
	case *talk.Answer:
		p.answered(m)
	case *talk.Session:
		w.takeSession(talk.Keep(m))
	case *talk.SessionSocket:
		w.addInlet(talk.Keep(m))
	case *talk.CloseConn:
		p.dropConn(m.Peer, m.Closed)
	case *talk.LinkRequest:
		p.beginLinkRequest(linkRequest{m.Peer, m.Part})
	case *talk.RemoteLink:
		w.queueRemoteLink(m)
	case *talk.Move:
		w.move(talk.Keep(m))
	case *talk.NoConn:
		p.hearNone(m.Part, m.Peer)
	case *talk.Published:
		p.unpublished.Store(!m.OK)
	case *talk.Finish:
		w.finished()
	}
}

// takeSession takes a session that has come as a message, which it owns.
func (w *Worker) takeSession(m *talk.Session) {
	w.p.line.Say(&talk.Took{Via: talk.ViaLine})
	if shake := w.session(m.FD, states.TransportID{Plugin: m.Plugin, Place: m.Place}, m.State, m.Data); shake != nil {
		w.wg.Go(shake)
	}
}

// dropConn ends the connection to a peer: another worker has closed its remote link (closed), or
// the peer has connected anew to another worker.
func (p *part) dropConn(peer string, closed bool) {
	why := nodes.ErrSuperseded
	if closed {
		why = nodes.ErrClosed
	}
	if c := p.n.Conn(peer); c != nil && !p.n.Ties(c).IsRemote {
		p.n.Link(c).Fail(why)
	}
}

// queueRemoteLink leaves it to takeRemoteLinks to take a remote link.
func (w *Worker) queueRemoteLink(m *talk.RemoteLink) {
	if m.Peer == nil || dist.CheckName(m.Peer.Name) != nil {
		return
	}
	w.p.remoteLinks.Add(talk.Keep(m))
}

// move begins to hand the worker over.
func (w *Worker) move(m *talk.Move) {
	if m.FD == 0 {
		w.stayed(m.ID, talk.ErrLost)
		return
	}
	w.wg.Go(func() { w.give(m.FD, m.ID) })
}

// hearNone notes that another worker has ended (peer is ""), or that it has no connection to the
// peer; those that wait for one look again.
func (p *part) hearNone(from int, peer string) {
	if peer == "" {
		p.noteEnded(from)
	}
	p.tellAwaited(peer, errNoneThere)
}

// addInlet takes another socket for sessions.
func (w *Worker) addInlet(m *talk.SessionSocket) {
	conn, err := (*net.UnixConn)(nil), error(talk.ErrLost)
	if m.FD > 0 {
		conn, err = descriptor.Conn(m.FD)
	}
	if err == nil {
		select {
		case w.inlets <- sessionSocket{conn, m.Number}:
			return
		default:
			err = errors.Join(errors.New("too many sockets for them"), conn.Close())
		}
	}
	w.socketLost(m.Number, err)
}

// takeRemoteLinks takes the remote links of the connections that other workers have.
func (w *Worker) takeRemoteLinks() {
	for m := w.p.remoteLinks.Next(w.p.line.Over()); m != nil; m = w.p.remoteLinks.Next(w.p.line.Over()) {
		w.p.addRemoteLink(m)
	}
}
