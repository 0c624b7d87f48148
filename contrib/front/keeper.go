package front

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

var errEnded = errors.New("the client has ended before")

// A Keeper accepts sessions and gives them to workers. Methods may be called concurrently.
type Keeper struct {
	o       Options
	reached func(step string) // for tests

	lookAgain time.Duration // shorter in tests

	// gate is held for reading by whatever takes something from a socket and notes it, or sends:
	// acceptors, readers of control sockets, writers of sessions. Who holds it for writing has made
	// them stop (see stand) and finds nothing half done.
	gate     sync.RWMutex
	kicked   context.Context // ends what waits while it holds the gate; replaced under gate
	kick     context.CancelFunc
	standing sync.Mutex // one stand at a time
	offer    handoff.Offer

	wg sync.WaitGroup // all goroutines

	mu        sync.Mutex
	life      life
	changed   chan struct{} // closed when anything ends that Shutdown waits for; nil: it does not wait
	ids       uint64        // of sessions and workers
	sessions  map[uint64]*session
	queue     []*session // those that wait for a worker, the longest waiting first
	names     map[string]*name
	beginning map[*beginning]struct{}
	pumps     map[*pump]struct{}
	hosts     []*host         // the processes before, of which pumps are still in use
	hosting   []*net.UnixConn // to the process after this one, which asks about the pumps here
	workers   []*worker
	doors     map[*door]struct{}
	inherited []*inheritance // of the previous process, in its order
	views     []Worker       // memory of dispatch
	memory    [2][]byte      // of flush
	stats     Stats
	expiry    *time.Timer // of the session that has waited the longest
	swept     time.Time   // until then leaveGone does not look again
}

type life int

const (
	serving  life = iota
	stopping      // Shutdown: nothing new
	moved         // another process has everything but the pumps
	closed
)

func (k *Keeper) pass(step string) {
	if k.reached != nil {
		k.reached(step)
	}
}

// Shutdown stops accepting clients and workers, closes the sessions that wait for a worker, and
// tells the workers that the sessions they have are wholly theirs from now on: they serve them
// to the end. It waits until sessions that are on their way have arrived, and until those whose
// TLS ends here have ended. Then, or when ctx ends, it closes the Keeper; ctx's error says that
// something was cut off. After Give has moved everything it waits for the sessions with TLS that
// have stayed.
func (k *Keeper) Shutdown(ctx context.Context) error {
	k.mu.Lock()
	if k.life == serving {
		k.life = stopping
		for d := range k.doors {
			d.close()
		}
		for b := range k.beginning {
			_ = b.conn.Close()
		}
		for _, s := range k.queue {
			k.stats.Expired++
			k.drop(s)
		}
		k.queue = nil
		for _, n := range k.names {
			if s := n.session; s != nil && s.worker == nil {
				k.stats.Expired++
				k.drop(s)
			}
		}
		for _, w := range k.workers {
			if w.control != nil && !w.gone {
				_, _ = w.control.TrySend([]byte{kindStop})
			}
		}
	}
	var err error
	for err == nil && k.unfinished() {
		if k.changed == nil {
			k.changed = make(chan struct{})
		}
		changed := k.changed
		k.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			err = ctx.Err()
		}
		k.mu.Lock()
	}
	k.mu.Unlock()
	return errors.Join(failed("shut down", nil, err), k.Close())
}

// unfinished tells whether Shutdown has to wait. k.mu is held.
func (k *Keeper) unfinished() bool {
	if len(k.pumps) > 0 {
		return true
	}
	if k.life == moved {
		return false
	}
	for _, w := range k.workers {
		if !w.gone && w.inflight > 0 {
			return true
		}
	}
	return false
}

// change wakes Shutdown. k.mu is held.
func (k *Keeper) change() {
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

// Close ends everything at once: listeners, the workers' connections, and the Keeper's duplicates.
// Sessions that workers have taken, or that are on their way to one, go on there, those of other
// clients end. Close returns when nothing goes on any more. It may be called any number of times.
func (k *Keeper) Close() error {
	thaw, err := k.stand(context.Background())
	if err != nil {
		return err // not with this context
	}
	k.mu.Lock()
	if k.life != moved { // release has done it
		k.letGo(true)
	}
	for p := range k.pumps {
		p.cut(false)
	}
	for _, c := range k.hosting {
		_ = c.Close()
	}
	k.life = closed
	k.change()
	k.mu.Unlock()
	thaw()
	k.kick()
	k.wg.Wait()
	return nil
}

// letGo closes this process's copies of everything but the pumps. files: those of UNIX sockets are
// removed. k.mu and the gate are held.
func (k *Keeper) letGo(files bool) {
	if k.expiry != nil {
		k.expiry.Stop()
	}
	for d := range k.doors {
		if !files {
			d.keepFile(true)
		}
		d.close()
	}
	for b := range k.beginning {
		_ = b.conn.Close()
	}
	for _, w := range k.workers {
		w.close()
	}
	k.workers = nil
	for _, s := range k.sessions {
		k.drop(s)
	}
	k.queue = nil
	for _, h := range k.hosts {
		h.close()
	}
	k.hosts = nil
	k.leaveInherited(files)
}

// leaveInherited closes the listeners of the previous process that nobody has asked for, and the
// clients of those that nobody has served. files: those of UNIX sockets are removed. k.mu is held.
func (k *Keeper) leaveInherited(files bool) {
	for _, i := range k.inherited {
		if i.number == 0 {
			if !files {
				keepFile(i.listener, true)
			}
			_ = i.listener.Close()
		}
		for _, b := range i.beginning {
			_ = b.conn.Close()
		}
		i.beginning = nil
	}
	k.inherited = nil
}

// stand makes everything stop that takes something from a socket or sends, and waits until it does.
// Nothing is half done then, until thaw is called.
func (k *Keeper) stand(ctx context.Context) (thaw func(), err error) {
	past := time.Unix(1, 0)
	k.standing.Lock()
	k.gate.RLock()
	stop := k.kick
	k.gate.RUnlock()
	stop()
	k.mu.Lock()
	kicks := func(t time.Time) {
		for d := range k.doors {
			_ = d.listener.SetDeadline(t)
		}
		for b := range k.beginning {
			b.interrupt(!t.IsZero())
		}
		for _, w := range k.workers {
			w.interrupt(t)
		}
	}
	kicks(past)
	k.mu.Unlock()
	k.gate.Lock()
	k.kicked, k.kick = context.WithCancel(context.Background())
	thaw = func() {
		k.mu.Lock()
		kicks(time.Time{})
		k.mu.Unlock()
		k.gate.Unlock()
		k.standing.Unlock()
	}
	if err := ctx.Err(); err != nil {
		thaw()
		return nil, err
	}
	return thaw, nil
}

// enter takes the gate for reading, and tells whether this process is still to serve.
func (k *Keeper) enter() bool {
	k.gate.RLock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life > stopping {
		k.gate.RUnlock()
		return false
	}
	return true
}

func addrOf(a net.Addr) transport.Addr {
	if a == nil {
		return nil
	}
	return a
}

// Stats are the numbers of a Keeper. Totals count from New, or from the first process of a chain of
// upgrades.
type Stats struct {
	Accepted  uint64 `json:"accepted"`  // clients
	Dialled   uint64 `json:"dialled"`   // connections that were made for workers
	Refused   uint64 `json:"refused"`   // clients: too many wait, or no PROXY header or TLS handshake in time
	Forwarded uint64 `json:"forwarded"` // sessions given to workers; one that moves counts again
	Points    uint64 `json:"points"`    // told by workers
	Moved     uint64 `json:"moved"`     // sessions that have left a worker and went on
	Reset     uint64 `json:"reset"`     // sessions that their worker has lost, at no point
	Returned  uint64 `json:"returned"`  // sessions that a worker had no descriptor for
	Done      uint64 `json:"done"`      // sessions that their workers have ended
	Gone      uint64 `json:"gone"`      // sessions whose client was gone when their worker was, or when they were to be given
	Expired   uint64 `json:"expired"`   // sessions for which there was no worker in time
	Left      uint64 `json:"left"`      // sessions that stay with a worker which the Keeper has given up, and of plain workers

	Sessions  int      `json:"sessions"`  // the Keeper has a duplicate of, or pumps
	Parked    int      `json:"parked"`    // of these, that wait for a worker
	Unclaimed int      `json:"unclaimed"` // of these, connections that no worker has asked for
	Beginning int      `json:"beginning"` // clients that have not sent what has to come first
	Workers   []Worker `json:"workers"`
}

// Stats gives the numbers of now.
func (k *Keeper) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.stats
	s.Sessions, s.Parked, s.Beginning = len(k.sessions), len(k.queue), len(k.beginning)
	for _, n := range k.names {
		if q := n.session; q != nil && q.worker == nil {
			s.Unclaimed++
		}
	}
	s.Workers = make([]Worker, 0, len(k.workers))
	for _, w := range k.workers {
		s.Workers = append(s.Workers, w.view())
	}
	return s
}

// String sums up the numbers in a line, for logs.
func (s Stats) String() string {
	return fmt.Sprintf("%d sessions with %d workers, %d parked; %d accepted, %d moved, %d reset",
		s.Sessions-s.Parked, len(s.Workers), s.Parked, s.Accepted, s.Moved, s.Reset)
}
