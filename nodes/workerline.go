package nodes

import (
	"errors"
	"net"

	"github.com/cnode-go/cnode/nodes/dist"
)

// listen takes what the front says, until the line ends: first what has been heard of it already.
func (w *Worker) listen(heard []word) {
	w.wg.Go(func() {
		defer w.finished()
		for _, m := range heard {
			w.take(m)
		}
		_ = w.p.line.read(w.take) // that it has ended is all there is to know
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
		p.line.say(word{Topic: sayTook, Part: viaLine})
		if o := w.session(m.fd, carriage{m.Plugin, m.Place}, m.State, m.Data); o != nil {
			w.wg.Go(func() { o.shake() })
		}
		return
	case saySessions:
		w.addInlet(m.fd, m.ID)
		return
	case sayDrop:
		why := ErrSuperseded
		if m.OK {
			why = ErrClosed
		}
		if c := p.n.Conn(m.Name); c != nil && !c.shadow {
			c.fail(why)
		}
	case sayMeet:
		p.beginMeet(meeting{m.Name, m.Part})
	case sayShadow:
		if m.Peer == nil || dist.CheckName(m.Peer.Name) != nil {
			break
		}
		w.mu.Lock()
		w.work = append(w.work, m)
		w.mu.Unlock()
		w.wake()
		return
	case sayMove:
		if m.fd == 0 {
			w.stayed(m.ID, errLost)
			return
		}
		w.wg.Go(func() { w.give(m.fd, m.ID) })
		return
	case sayNone:
		if m.Name == "" {
			p.noteEnded(m.Part)
		}
		p.tellAwaited(m.Name, errNoneThere)
	case sayFinish:
		w.finished()
	}
	m.drop()
}

// addInlet takes another socket for sessions.
func (w *Worker) addInlet(fd int, number uint64) {
	conn, err := (*net.UnixConn)(nil), error(errLost)
	if fd > 0 {
		conn, err = inheritedSocket(fd)
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
			w.doing.done()
		}
		if len(w.work) == 0 || !w.doing.begin() {
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
		w.mu.Unlock()
		w.p.addShadow(m)
	}
}
