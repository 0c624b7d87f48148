package talk

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/internal/descriptor"
	"github.com/cnode-go/cnode/nodes/internal/states"
	"github.com/cnode-go/cnode/nodes/internal/wait"
)

// A Queue has the remote links that a worker is to take, one at a time and in order, since taking
// one may have to wait.
type Queue struct {
	mu     sync.Mutex
	list   []*RemoteLink
	some   chan struct{} // holds a token when Next is to look again
	taking wait.Pausable
}

// NewQueue makes an empty queue.
func NewQueue() *Queue { return &Queue{some: make(chan struct{}, 1)} }

// Add puts a remote link behind the others.
func (q *Queue) Add(m *RemoteLink) {
	q.mu.Lock()
	q.list = append(q.list, m)
	q.mu.Unlock()
	q.wake()
}

// Pause has Next return nothing new, and waits until what it has returned is taken, or ctx ends. On
// failure, too, Resume is due.
func (q *Queue) Pause(ctx context.Context) error { return q.taking.Pause(ctx, &q.mu) }

// Resume ends a Pause, and wakes Next.
func (q *Queue) Resume() {
	q.mu.Lock()
	q.taking.Resume()
	q.mu.Unlock()
	q.wake()
}

// Describe puts what waits into a state.
func (q *Queue) Describe(t *descriptor.Table) ([]states.LineMessage, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Describe(t, q.list)
}

// Restore takes what waits from a state; Next does not look before Resume.
func (q *Queue) Restore(list *descriptor.List, all []states.LineMessage) (err error) {
	q.list, err = Take[*RemoteLink](list, all)
	return err
}

func (q *Queue) wake() {
	select {
	case q.some <- struct{}{}:
	default:
	}
}

// Next waits for the next one, until over is closed: nil. The one before has been taken.
func (q *Queue) Next(over <-chan struct{}) *RemoteLink {
	for {
		q.mu.Lock()
		if q.taking.Runs() {
			q.taking.Done()
		}
		if len(q.list) > 0 && q.taking.Begin() {
			m := q.list[0]
			q.list = q.list[1:]
			q.mu.Unlock()
			return m
		}
		q.mu.Unlock()
		select {
		case <-q.some:
		case <-over:
			return nil
		}
	}
}

// Drop gives up what has not been taken.
func (q *Queue) Drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	DropAll(q.list)
	q.list = nil
}

// PeerOf is the peer's name with which a parcel's data begins, and under which the session is
// counted; "" if the peer asks for a name.
func PeerOf(data []byte) string {
	// the header's size; in a header of 4 bytes the first two are zero
	for _, size := range []int{2, 4} {
		if len(data) < size {
			break
		}
		n := uint64(binary.BigEndian.Uint16(data))
		if size == 4 {
			n = uint64(binary.BigEndian.Uint32(data))
		}
		if n == 0 || n > uint64(len(data)-size) {
			continue
		}
		who, err := protocol.ParseName(data[size : size+int(n)])
		if err != nil || who.Dynamic() {
			break
		}
		return who.Name
	}
	return ""
}
