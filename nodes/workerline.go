package nodes

import (
	"errors"
	"net"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/talk"
)

// listen handles what the front says, until the line ends, beginning with heard, the words that
// have been read already.
func (w *Worker) listen(heard []talk.Word) {
	w.wg.Go(func() {
		defer w.finished()
		for _, m := range heard {
			w.take(m)
		}
		_ = w.p.line.Read(w.take) // all there is to know is that the line has ended
	})
}

func (w *Worker) finished() { w.finish.Do(func() { close(w.done) }) }

// take does what a word of the front asks for.
func (w *Worker) take(m talk.Word) {
	defer m.Drop()
	p := w.p
	switch m.Topic {
	case talk.Sibling:
		p.addWorkerLink(m.Keep())
	case talk.Probe:
		p.line.Say(talk.Word{Topic: talk.Here, ID: m.ID})
	case talk.Answer:
		p.answered(m)
	case talk.Session:
		w.takeSession(m.Keep())
	case talk.Sessions:
		w.addInlet(m.Keep().FD, m.ID)
	case talk.Drop:
		p.dropConn(m.Name, m.OK)
	case talk.Meet:
		p.beginLinkRequest(linkRequest{m.Name, m.Part})
	case talk.Shadow:
		w.queueRemoteLink(&m)
	case talk.Move:
		w.move(&m)
	case talk.None:
		p.hearNone(m.Part, m.Name)
	case talk.Finish:
		w.finished()
	}
}

// takeSession takes a session that has come as a word, which it owns.
func (w *Worker) takeSession(m talk.Word) {
	w.p.line.Say(talk.TookWord(talk.ViaLine))
	if o := w.session(m.FD, states.TransportID{Plugin: m.Plugin, Place: m.Place}, m.State, m.Data); o != nil {
		w.wg.Go(func() { o.shake() })
	}
}

// dropConn ends the connection to a peer: another worker has closed its remote link (closed), or
// the peer has connected anew to another worker.
func (p *part) dropConn(peer string, closed bool) {
	why := ErrSuperseded
	if closed {
		why = ErrClosed
	}
	if c := p.n.Conn(peer); c != nil && !c.remoteLink {
		c.fail(why)
	}
}

// queueRemoteLink leaves it to doWork to take a remote link.
func (w *Worker) queueRemoteLink(m *talk.Word) {
	if m.Peer == nil || dist.CheckName(m.Peer.Name) != nil {
		return
	}
	w.mu.Lock()
	w.work = append(w.work, m.Keep())
	w.mu.Unlock()
	w.wake()
}

// move begins to hand the worker over.
func (w *Worker) move(m *talk.Word) {
	if m.FD == 0 {
		w.stayed(m.ID, talk.ErrLost)
		return
	}
	fd, id := m.Keep().FD, m.ID
	w.wg.Go(func() { w.give(fd, id) })
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
func (w *Worker) addInlet(fd int, number uint64) {
	conn, err := (*net.UnixConn)(nil), error(talk.ErrLost)
	if fd > 0 {
		conn, err = connOf(fd)
	}
	if err == nil {
		select {
		case w.inlets <- sessionSocket{conn, number}:
			return
		default:
			err = errors.Join(errors.New("too many sockets for them"), conn.Close())
		}
	}
	w.socketLost(number, err)
}

// wake makes doWork look again.
func (w *Worker) wake() {
	select {
	case w.some <- struct{}{}:
	default:
	}
}

// doWork does in order what may have to wait: it takes remote links of the connections that other
// workers have.
func (w *Worker) doWork() {
	for {
		w.mu.Lock()
		if w.doing.Runs() {
			w.doing.Done()
		}
		if len(w.work) == 0 || !w.doing.Begin() {
			w.mu.Unlock()
			select {
			case <-w.some:
			case <-w.p.line.Over():
				return
			}
			continue
		}
		m := w.work[0]
		w.work = w.work[1:]
		w.mu.Unlock()
		w.p.addRemoteLink(m)
	}
}
