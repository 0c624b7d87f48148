package serve

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
)

const (
	// laneBudget is how many bytes a connection's own goroutine sends before it leaves the rest to
	// the lane's goroutine, which waits until they have left: less than a connection's queue holds,
	// so that the connection's goroutine need not wait.
	laneBudget = 512 << 10
	// sendCost is how many bytes are sent besides a term and the name of its receiver's node, or a
	// few more: those of the frame and its control message, or all of {count, N}.
	sendCost = 100
	// countLimit is for how many clients one connection's sink counts at the same time: a program
	// that names more has made them up.
	countLimit = 10_000
	// laneLimit is how many bytes of memory the messages that wait for the lane's goroutine may
	// take before the connection's goroutine waits for it, too.
	laneLimit = 64 << 20
	// jobSize is how many bytes a job takes besides its message, or a few more.
	jobSize = 500
	// termSize is how many bytes of memory a decoded term takes for each byte of its encoded form,
	// at most: for a list of small integers.
	termSize = 16
)

// errFull is why a request of this node's own is not done.
var errFull = errors.New("too much that processes of this node ask for is waiting")

// A lane does what one connection asks for, in order. A job that cannot block is done on the
// caller's goroutine, which is the fast way. Any other job is left to the lane's own goroutine, and
// so are all jobs after it until everything is done and sent: a client that does not read delays no
// other client.
type lane struct {
	peer *peer
	conn *nodes.Conn // nil: senders on this node
	told atomic.Bool // a message that is not understood was logged

	// Belongs to the goroutine that does jobs at the moment.
	counts map[sender]int64 // of sink
	owed   int              // bytes sent since the connection's queue was last known to be empty

	mu      sync.Mutex
	room    sync.Cond
	waiting []job
	bytes   int  // of waiting
	busy    bool // the lane's goroutine works
}

// A job is a request, or else a call.
type job struct {
	request
	call    *nodes.Call
	message *nodes.Message // that the request aliases
	cost    int            // bytes that it sends, or more
	size    int            // bytes that it keeps in memory
}

func newLane(p *peer, c *nodes.Conn) *lane {
	l := &lane{peer: p, conn: c, counts: map[sender]int64{}}
	l.room.L = &l.mu
	return l
}

// complain logs a message that is not understood: as a warning only the first one of a connection,
// so that no client fills the log.
func (l *lane) complain(err error) {
	level := slog.LevelWarn
	if l.told.Swap(true) {
		level = slog.LevelDebug
	}
	l.peer.log.Log(context.Background(), level, "message not understood", "peer", connName(l.conn), "error", err)
}

// take does a job, or leaves it to the lane's goroutine. Only the connection's goroutine calls it;
// jobs of senders on this node always cost too much to be done here.
func (l *lane) take(j job) {
	l.mu.Lock()
	if !l.busy && l.owed+j.cost <= laneBudget {
		l.mu.Unlock()
		l.owed += j.cost
		l.do(j)
		return
	}
	defer l.mu.Unlock()
	for l.busy && l.bytes > laneLimit {
		// it may be the lane's own goroutine that sends this, to the name peer, and that would wait
		// for itself
		if l.conn == nil {
			l.complain(errFull)
			if j.message != nil {
				j.message.Release()
			}
			return
		}
		l.room.Wait()
	}
	if !l.busy {
		if !l.peer.begin() {
			return
		}
		l.busy = true
		go l.work()
	}
	l.waiting = append(l.waiting, j)
	l.bytes += j.size
}

// work does what waits, and ends when all of it has left.
func (l *lane) work() {
	defer l.peer.finish()
	for {
		l.mu.Lock()
		js := l.waiting
		if len(js) == 0 {
			l.busy, l.owed = false, 0
			l.room.Broadcast()
			l.mu.Unlock()
			return
		}
		l.waiting = nil
		l.mu.Unlock()
		for _, j := range js {
			l.do(j)
			l.mu.Lock()
			l.bytes -= j.size
			l.room.Broadcast()
			l.mu.Unlock()
		}
		if l.conn != nil {
			_ = l.conn.Flush(l.peer.ctx) // a connection that ended owes nothing
		}
	}
}

// do does a job. Answers that cannot be sent any more are lost, like all messages to a process that
// is gone.
func (l *lane) do(j job) {
	if j.call != nil {
		_ = j.call.Reply(l.peer.ctx, ei.Tuple{ei.Atom("ok"), j.call.Request})
		return
	}
	defer j.message.Release()
	switch j.verb {
	case echo:
		_ = l.send(j.from, j.term)
	case sink:
		n := l.counts[j.from] + 1
		switch {
		case j.last:
			delete(l.counts, j.from)
			_ = l.send(j.from, count(n))
		case n > 1 || len(l.counts) < countLimit:
			l.counts[j.from] = n
		}
	case publish:
		if err := l.peer.publish(l.peer.ctx, j.topic, j.term); err != nil {
			l.complain(err)
		}
	case source:
		for range j.times {
			if l.left() || l.send(j.from, j.term) != nil {
				return
			}
		}
	}
}

// left reports whether the client has gone.
func (l *lane) left() bool { return l.conn != nil && l.conn.Err() != nil }

func (l *lane) send(to sender, term ei.Raw) error {
	isAlias := to.alias.Len > 0
	if l.conn != nil && to.node() == l.conn.Name() {
		switch {
		case !isAlias:
			return l.conn.SendRaw(l.peer.ctx, to.pid, term)
		case l.conn.Peer().Flags.Has(dist.FlagAlias):
			ctl := dist.Control{Op: dist.OpAliasSend, From: l.peer.box.Pid(), Ref: to.alias}
			return l.conn.SendControl(l.peer.ctx, &ctl, term)
		}
		return errors.ErrUnsupported // it has made none, then
	}
	// the client must not make a third node end its connection with this one
	t, err := ei.DecodeOptions{Strict: true}.Decode(term)
	if err != nil {
		l.complain(err)
		return err
	}
	if isAlias {
		return l.peer.box.SendAlias(l.peer.ctx, to.alias, t)
	}
	return l.peer.box.Send(l.peer.ctx, to.pid, t)
}

// count is {count, N}.
func count(n int64) ei.Raw {
	b := ei.AppendTupleHeader(nil, 2)
	b, _ = ei.AppendAtom(b, "count") // an atom that fits
	return ei.AppendInt(b, n)
}
