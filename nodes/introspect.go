package nodes

import (
	"iter"
	"runtime"
	"slices"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/gofunc"
	"github.com/cnode-go/cnode/nodes/introspect"
)

// What a node tells about its processes, to whoever looks at it.

// processPage is how many processes are looked up at a time: others wait for no longer than that.
const processPage = 256

// Processes yields a record of each process of the node, in no order. Nobody waits for it, and it
// keeps nobody waiting: a process that begins or ends meanwhile may be missing. In a worker (see
// Front) they are that worker's. It is erlang:processes/0 and process_info/2 in one.
func (n *Node) Processes() iter.Seq[introspect.Process] {
	type listed struct {
		b     *Mailbox
		names []ei.Atom
	}
	return func(yield func(introspect.Process) bool) {
		code := map[uintptr]introspect.MFA{}
		page := make([]listed, 0, processPage)
		flush := func() bool {
			for _, l := range page {
				if !yield(l.b.describe(l.names, code)) {
					return false
				}
			}
			page = page[:0]
			runtime.Gosched() // whoever has a message to deal with does not wait for the end
			return true
		}
		p := &n.procs
		p.mu.RLock()
		for _, b := range p.byID { // which is changed between the pages, as an iteration allows
			if page = append(page, listed{b, p.namesLocked(b)}); len(page) < processPage {
				continue
			}
			p.mu.RUnlock()
			if !flush() {
				return
			}
			p.mu.RLock()
		}
		p.mu.RUnlock()
		flush()
	}
}

// Process describes the process that has the pid, with its links, monitors, and some of its unread
// messages; false: there is none here. It is erlang:process_info/2.
func (n *Node) Process(pid ei.Pid) (introspect.Details, bool) {
	b := n.procs.local(pid)
	if b == nil {
		return introspect.Details{}, false
	}
	d := introspect.Details{Process: b.describe(n.procs.namesOf(b), map[uintptr]introspect.MFA{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	d.LinkedWith = slices.AppendSeq(d.LinkedWith, b.bonds.Linked())
	for _, t := range b.bonds.Watching() {
		if !t.IsPending() {
			d.Monitoring = append(d.Monitoring, introspect.Target{Pid: t.Pid, Name: t.Name, Node: t.Node})
		}
	}
	for _, w := range b.bonds.Watchers() {
		d.Watchers = append(d.Watchers, w.Pid)
	}
	bytes := 0
	for m := range b.inbox.Unread() {
		if bytes += len(m.Payload) + len(m.Reason); bytes > messagesShown || len(d.Messages) == mostMessagesShown {
			break
		}
		if raw, err := ei.AppendTerm(nil, m.shown()); err == nil {
			d.Messages = append(d.Messages, raw)
		}
	}
	return d, true
}

// So many unread messages of a process, and bytes of them, are shown.
const (
	mostMessagesShown = 100
	messagesShown     = 64 << 10
)

// describe is the record of a process that has these names; code remembers the names of functions.
func (b *Mailbox) describe(names []ei.Atom, code map[uintptr]introspect.MFA) introspect.Process {
	d := introspect.Process{Names: names, TrapExit: b.traps.Load(), Running: b.served.runs.Load()}
	if b.born != 0 {
		d.Started = time.Unix(0, b.born)
	}
	b.mu.Lock()
	d.Pid, d.Label, d.Parent, d.Suspended = b.pid, b.label, b.opts.Parent, b.inbox.IsPartly()
	d.Queue, d.QueueBytes, d.Handled = b.inbox.Len(), b.inbox.Bytes(), b.inbox.Taken()
	d.Links, d.Monitors, d.MonitoredBy = b.bonds.Counts()
	switch {
	case b.isNodes():
		d.Kind = introspect.KindSystem
	case b.origin.spawned != nil:
		d.Kind = introspect.KindFunction
	case b.served.handler:
		d.Kind = introspect.KindHandler
	case b.served.is:
		d.Kind = introspect.KindServer
	default:
		d.Kind = introspect.KindMailbox
	}
	b.mu.Unlock()
	if t := b.origin.spawned; t != nil {
		b.n.procs.runs.describe(t, &d)
	} else if b.served.code != 0 {
		var known bool
		if d.Runs, known = code[b.served.code]; !known {
			d.Runs.Module, d.Runs.Function = gofunc.NameOf(b.served.code)
			code[b.served.code] = d.Runs
		}
	}
	if b.n.cfg.ProfileLabels && (b.origin.spawned != nil || b.served.code != 0) {
		d.Goroutine = d.Pid.String()
	}
	return d
}
