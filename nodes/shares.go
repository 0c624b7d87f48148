package nodes

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// shares are the places of Config.MaxCalls: one for each function that runs for a remote caller. A peer gets another place as long as it
// has fewer than are free, over however many connections its requests have come. So of peers whose calls hang the first one takes half of
// all places, the next one half of what that leaves, and so on. A request that gets no place waits in the queue of its peer, and does not
// hold up the reader that has brought it: the functions that run may wait for something that the same connection brings.
type shares struct {
	mu      sync.Mutex
	free    int
	callers map[string]*caller // by the peer's name; "": callers of this node
	waiting []*caller          // those with a queue, none of which may have a place; the one served last is behind the others
}

// A caller is a peer that has places, or waits for one.
type caller struct {
	peer    string
	held    int
	queue   []job     // oldest first
	bytes   int       // of the queue
	room    wait.Bell // rings when something leaves the queue
	stalled bool      // the queue is full, and nothing has left it for long
}

// A job is a function that is about to run.
type job struct {
	cost  int         // in bytes, while it waits
	since time.Time   // it waits; zero: it does not
	begin func() bool // begins the job; false: it needs no place after all
}

// maxWaiting bounds the requests of one peer that wait for a place, in bytes. One request may exceed it when there is no other.
const maxWaiting = 4 << 20

// stalledQueue is how long a full queue holds up its peer's connection while nothing leaves the queue; then requests are refused until
// something does.
const stalledQueue = 2 * time.Second

// longWait is how long a call waits for a place before later ones of the same peer are worth a word in the log.
const longWait = time.Second

// The reasons that the log gives where calls of a peer have to wait, or are refused.
var (
	errSlowCalls = errors.New("calls of the peer have waited for a second: functions take long, and it has its share of Config.MaxCalls")
	errFullCalls = errors.New("4 MiB of calls of the peer wait, and for two seconds no function that it called has returned (Config.MaxCalls)")
)

func (s *shares) init(n int) { s.free, s.callers = n, map[string]*caller{} }

// admits waits while the queue of a connection's peer is full; false: the job is to be refused, for nothing has left the queue in
// stalledQueue, or the connection or the node has ended. To wait longer may be in vain: the functions that run may wait for what the same
// connection is to bring. If the connection's reader is to halt, what it has read already is let in even so.
func (s *shares) admits(c *Conn, cost int, closed <-chan struct{}) bool {
	var t *time.Timer // since something has left the queue
	for {
		s.mu.Lock()
		k := s.callers[c.peer.Name]
		halts, change := c.halts()
		if k == nil || k.bytes == 0 || k.bytes+cost <= maxWaiting || halts {
			s.mu.Unlock()
			return true
		}
		if k.stalled {
			s.mu.Unlock()
			return false
		}
		room := k.room.Next()
		s.mu.Unlock()
		if t == nil {
			t = time.NewTimer(stalledQueue)
			defer t.Stop()
		}
		select {
		case <-room:
			t.Reset(stalledQueue)
		case <-change:
		case <-t.C:
			s.mu.Lock()
			select {
			case <-room: // something has left it just now
			default:
				k.stalled = true
			}
			s.mu.Unlock()
			t.Reset(stalledQueue)
		case <-c.done:
			return false
		case <-closed:
			return false
		}
	}
}

// take begins a job for a peer, now or when there is a place for it. It returns for how long the peer's oldest job has waited.
func (s *shares) take(peer string, j job) (waits time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.callers[peer]
	if k == nil {
		k = &caller{peer: peer}
		s.callers[peer] = k
	}
	if len(k.queue) == 0 && k.held < s.free {
		s.begin(k, j)
		return 0
	}
	if len(k.queue) == 0 {
		s.waiting = append(s.waiting, k)
	}
	j.since = time.Now()
	k.queue = append(k.queue, j)
	k.bytes += j.cost
	return j.since.Sub(k.queue[0].since)
}

// counts gives how many jobs run, and how many wait for a place.
func (s *shares) counts() (run, wait int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.callers {
		run, wait = run+k.held, wait+len(k.queue)
	}
	return run, wait
}

// put gives a place back.
func (s *shares) put(peer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.callers[peer]
	s.free++
	k.held--
	s.grant()
	s.tidy(k)
}

// grant gives places to the callers that may have them, by turns; s.mu is held.
func (s *shares) grant() {
	for {
		i := slices.IndexFunc(s.waiting, func(k *caller) bool { return k.held < s.free })
		if i < 0 {
			return
		}
		k := s.waiting[i]
		s.waiting = slices.Delete(s.waiting, i, i+1)
		j := k.queue[0]
		k.queue[0] = job{}
		k.queue = k.queue[1:]
		k.bytes -= j.cost
		k.stalled = false
		k.room.Ring()
		if len(k.queue) > 0 {
			s.waiting = append(s.waiting, k)
		}
		s.begin(k, j)
	}
}

// begin begins a job in a place; s.mu is held.
func (s *shares) begin(k *caller, j job) {
	if j.begin() {
		s.free--
		k.held++
	}
	s.tidy(k)
}

// tidy forgets a caller that neither has a place nor waits for one; s.mu is held.
func (s *shares) tidy(k *caller) {
	if k.held == 0 && len(k.queue) == 0 {
		delete(s.callers, k.peer)
	}
}
