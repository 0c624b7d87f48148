package nodes

import "sync/atomic"

// counters are what Stats reports of the whole node.
type counters struct {
	connections      atomic.Int64
	handshakesFailed atomic.Int64
	malformed        atomic.Int64
	undeliverable    atomic.Int64
	callsRefused     atomic.Int64
	mailboxesFull    atomic.Int64
}

func (c *counters) all() [6]*atomic.Int64 {
	return [...]*atomic.Int64{&c.connections, &c.handshakesFailed, &c.malformed, &c.undeliverable, &c.callsRefused, &c.mailboxesFull}
}

// Stats is a snapshot of a node's counters.
type Stats struct {
	Connections      int64 // ever up
	HandshakesFailed int64 // started by peers
	// frames and control messages that ended their connection, and skipped signals in the name of a
	// third node
	Malformed int64
	// messages to processes or names that do not exist, or take none; they are dropped, as in a
	// BEAM
	Undeliverable int64
	// processes: net_kernel and rex, those of calls in progress and of spawned functions, included
	Mailboxes int
	// functions that run for callers of other nodes, or of this one: places of Config.MaxCalls
	Calls        int
	CallsWaiting int // those that wait for a place
	// requests of peers that were refused (system_limit), since they had their share of
	// Config.OverflowLimit
	CallsRefused int64
	// bytes of messages in mailboxes beyond MailboxOptions.Limit: see Config.OverflowLimit
	Overflow      int
	MailboxesFull int64       // mailboxes that have ended with reason mailbox_full
	Peers         []PeerStats // one per connection, in no particular order
}

// PeerStats is a snapshot of one connection's counters.
type PeerStats struct {
	Name             string // of the other node
	MessagesReceived int64  // signals included
	// signals that the node sends by itself, such as those of links, not included
	MessagesSent  int64
	BytesReceived int64 // of frames, ticks included
	BytesSent     int64 // given to the transport
	BytesQueued   int   // waiting, or being written
}

// Stats takes a snapshot.
func (n *Node) Stats() Stats {
	s := Stats{
		Connections:      n.stats.connections.Load(),
		HandshakesFailed: n.stats.handshakesFailed.Load(),
		Malformed:        n.stats.malformed.Load(),
		Undeliverable:    n.stats.undeliverable.Load(),
		CallsRefused:     n.stats.callsRefused.Load(),
		Overflow:         n.overflow.Held(),
		MailboxesFull:    n.stats.mailboxesFull.Load(),
		Mailboxes:        n.procs.count(),
	}
	s.Calls, s.CallsWaiting = n.procs.places.Counts()
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		queued, sent := c.q.Buffered()
		s.Peers = append(s.Peers, PeerStats{
			Name:             c.peer.Name,
			MessagesReceived: c.messages.Load(), MessagesSent: c.sentCount.Load(),
			BytesReceived: c.received.Load(), BytesSent: sent, BytesQueued: queued,
		})
	}
	return s
}
