package global

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

const (
	// maxLetters is how many letters wait for a node that does not read, and maxLetterBytes how many
	// bytes they have: a node may ask for all names again and again. What comes after them is
	// dropped. The connection to such a node ends by itself.
	maxLetters     = 10_000
	maxLetterBytes = 64 << 20
	// letterTime is how long one of them waits: longer than it takes to see that a node is gone.
	letterTime = 2 * time.Minute
)

// An outbox sends letters without waiting, and those to one node in order. Only while a connection
// is full a goroutine waits for it.
type outbox struct {
	send     func(ctx context.Context, l letter) error
	hasMoved func() bool // the node, and not one connection
	noWait   context.Context
	connects bool // all do: another worker may have the connection

	mu   sync.Mutex
	full map[string][]letter
	// of the letters that wait for a node
	bytes map[string]int
}

func newOutbox(send func(ctx context.Context, l letter) error, hasMoved func() bool, connects bool) *outbox {
	ctx := transport.NoWait()
	if !connects {
		ctx = nodes.NoConnect(ctx)
	}
	return &outbox{send: send, hasMoved: hasMoved, noWait: ctx, connects: connects, full: map[string][]letter{}, bytes: map[string]int{}}
}

func (o *outbox) post(l letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue, waiting := o.full[l.Node]
	if waiting {
		if len(queue) < maxLetters && o.bytes[l.Node] < maxLetterBytes {
			o.add(l)
		}
		return
	}
	err := o.send(o.noWait, l)
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, nodes.ErrNoConnection) && l.Connects {
		o.add(l)
		go o.drain(l.Node)
	}
}

// add has a letter wait; o.mu is held.
func (o *outbox) add(l letter) {
	o.full[l.Node] = append(o.full[l.Node], l)
	o.bytes[l.Node] += len(l.Payload)
}

// drain sends the letters that wait for a node.
func (o *outbox) drain(node string) {
	for {
		o.mu.Lock()
		queue := o.full[node]
		if len(queue) == 0 {
			delete(o.full, node)
			delete(o.bytes, node)
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), letterTime)
		err := o.send(nodes.NoConnect(ctx), queue[0])
		if errors.Is(err, nodes.ErrNoConnection) && (queue[0].Connects || o.connects) {
			err = o.send(ctx, queue[0])
		}
		cancel()
		if errors.Is(err, nodes.ErrMoved) && o.hasMoved() {
			return // the other process has what is left
		}
		o.mu.Lock()
		queue = o.full[node]
		o.bytes[node] -= len(queue[0].Payload)
		queue[0], o.full[node] = letter{}, queue[1:]
		o.mu.Unlock()
	}
}

// waiting lists the letters that are yet to be sent.
func (o *outbox) waiting() (list []letter) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, queue := range o.full {
		list = append(list, queue...)
	}
	return list
}

// flushed waits until no letter waits for a node.
func (o *outbox) flushed(ctx context.Context, node string) {
	for ctx.Err() == nil {
		o.mu.Lock()
		_, waiting := o.full[node]
		o.mu.Unlock()
		if !waiting {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}
