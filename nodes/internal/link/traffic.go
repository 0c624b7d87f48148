package link

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/metrics"
)

// Traffic is what has gone over a connection since it came up.
type Traffic struct {
	MessagesReceived, MessagesSent int64
	BytesReceived, BytesSent       int64 // of frames; BytesSent: what the transport was given
	BytesQueued                    int   // what waits to be given to it
}

// Traffic is what has gone over the connection so far.
func (c *Conn) Traffic() Traffic {
	queued, sent := c.q.Buffered()
	return Traffic{
		MessagesReceived: c.messages.Load(), MessagesSent: c.sentCount.Load(),
		BytesReceived: c.received.Load(), BytesSent: sent, BytesQueued: queued + c.fragments.Bytes(),
	}
}

// Progress differs between two moments if the peer, or its system, has taken something in between.
type Progress struct {
	sent  int64 // what has gone out, by whole writes: a slow line takes long for one
	there int   // what the system has of it still, where it tells
}

// Progress is how far the peer has come with what was sent.
func (c *Conn) Progress() Progress {
	_, sent := c.q.Buffered()
	there, err := c.s.OutstandingBytes()
	if err != nil {
		there = 0
	}
	return Progress{sent, there}
}

// posted is how many bytes have ever been given to the queue.
func (c *Conn) posted() int64 {
	queued, sent := c.q.Buffered()
	return sent + int64(queued)
}

// measured is the meter for the connection; nil if nobody measures, or it is one between workers.
func (c *Conn) measured() *metrics.Hooks {
	if m := c.env.Meter.Load(); m != nil && !c.inner {
		return m
	}
	return nil
}

// reportFull reports that a sender has to wait.
func (c *Conn) reportFull() {
	if m := c.measured(); m != nil && m.QueueFull != nil {
		m.QueueFull(&c.record)
	}
}

// countReceived counts a message that has come, in a last frame of so many bytes.
func (c *Conn) countReceived(payload ei.Raw, frame int64) {
	c.messages.Add(1)
	if c.env.Meter.Load() != nil {
		c.reportReceived(payload, frame)
	}
}

// countSent counts messages that were given to the queue, each of so many bytes.
func (c *Conn) countSent(messages int64, bytes int) {
	c.sentCount.Add(messages)
	if c.env.Meter.Load() != nil {
		c.reportSent(messages, bytes)
	}
}

func (c *Conn) reportReceived(payload ei.Raw, frame int64) {
	if h := c.measured(); h != nil && h.MessageIn != nil {
		h.MessageIn(&c.record, max(int(frame), len(payload)))
	}
}

func (c *Conn) reportSent(messages int64, bytes int) {
	if h := c.measured(); h != nil && h.MessageOut != nil {
		for range messages {
			h.MessageOut(&c.record, bytes)
		}
	}
}
