package main

import (
	"context"
	"errors"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
)

// laneGrace is how long a hand-off waits for what the peer still has to send.
const laneGrace = 2 * time.Second

// errOwing ends a hand-off: a client does not read what it has asked for, and the rest of that
// would be lost.
var errOwing = errors.New("the peer still has something to send that a client does not read")

// handover waits until the peer has done everything, and gives what its successor needs to know:
// the counts of sink. No new messages come meanwhile.
func (p *peer) handover(ctx context.Context) ([]byte, error) {
	t := time.NewTimer(laneGrace)
	defer t.Stop()
	select {
	case <-p.rest():
	case <-t.C:
		return nil, errOwing
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var list ei.List
	for c, l := range p.lanes {
		if c != nil && c.Err() != nil {
			continue
		}
		for from, n := range l.counts {
			list = append(list, ei.Tuple{ei.Binary(connName(c)), from.term(), ei.Int(n)})
		}
	}
	// of connections that have sent nothing since the last hand-off
	for name, counts := range p.counts {
		for from, n := range counts {
			list = append(list, ei.Tuple{ei.Binary(name), from.term(), ei.Int(n)})
		}
	}
	return ei.AppendTerm(nil, list)
}

// connName is the name of a connection's peer; "" for senders on this node.
func connName(c *nodes.Conn) string {
	if c == nil {
		return ""
	}
	return c.Name()
}

// parseCounts reads what handover has written, and leaves out what it does not understand.
func parseCounts(blob []byte) map[string]map[sender]int64 {
	counts := map[string]map[sender]int64{}
	c := ei.NewCursor(blob)
	t, err := c.Term()
	list, ok := t.(ei.List)
	if err != nil || !ok {
		return counts
	}
	for _, t := range list {
		entry, ok := t.(ei.Tuple)
		if !ok || len(entry) != 3 {
			continue
		}
		name, isName := entry[0].(ei.Binary)
		from, isSender := senderOf(entry[1])
		n, isCount := entry[2].(ei.Int)
		if !isName || !isSender || !isCount {
			continue
		}
		if counts[string(name)] == nil {
			counts[string(name)] = map[sender]int64{}
		}
		counts[string(name)][from] = int64(n)
	}
	return counts
}
