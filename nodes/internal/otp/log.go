package otp

import (
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// A MessageCount is what sys:statistics shows.
type MessageCount struct {
	Since   time.Time
	In, Out int
}

// An EventLog is the last events of sys:log: so many, and no more than eventBytes.
type EventLog struct {
	most, bytes int
	events      []ei.Raw // the oldest first
}

// How many events a log may be asked to have, and has if nobody says.
const (
	mostEvents    = 10_000
	defaultEvents = 10 // as OTP's
	eventBytes    = 1 << 20
)

// Keep has the log keep so many events from now on.
func (l *EventLog) Keep(most int) {
	l.most = most
	l.shrink()
}

// Add notes an event, an encoded term.
func (l *EventLog) Add(event ei.Raw) {
	if l.events, l.bytes = append(l.events, event), l.bytes+len(event); l.bytes > eventBytes || len(l.events) > l.most {
		l.shrink()
	}
}

func (l *EventLog) shrink() {
	drop := 0
	for ; drop < len(l.events) && (l.bytes > eventBytes || len(l.events)-drop > l.most); drop++ {
		l.bytes -= len(l.events[drop])
	}
	l.events = slices.Delete(l.events, 0, drop)
}

// List is the events, the oldest first; of a nil log there are none.
func (l *EventLog) List() ei.List {
	list := ei.List{}
	if l != nil {
		for _, event := range l.events {
			list = append(list, event)
		}
	}
	return list
}

// Show is the answer to sys:statistics; n may be nil.
func (n *MessageCount) Show() ei.Term {
	if n == nil {
		return ei.Atom("no_statistics")
	}
	at := func(t time.Time) ei.Term {
		y, m, d := t.Date()
		h, mi, s := t.Clock()
		three := func(a, b, c int) ei.Term { return ei.Tuple{ei.Int(a), ei.Int(b), ei.Int(c)} }
		return ei.Tuple{three(y, int(m), d), three(h, mi, s)}
	}
	pair := func(key ei.Atom, v ei.Term) ei.Term { return ei.Tuple{key, v} }
	return ei.List{
		pair("start_time", at(n.Since)), pair("current_time", at(time.Now())), pair("reductions", ei.Int(0)),
		pair("messages_in", ei.Int(n.In)), pair("messages_out", ei.Int(n.Out)),
	}
}
