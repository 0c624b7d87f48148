// Package introspect has the records in which a node describes its processes: what
// nodes.Node.Processes and nodes.Node.Process return. They are for programs that show what a node
// does; package nodes/observer shows it to the tools of Erlang and Elixir.
//
// # Stability
//
// The records get new fields in minor versions: write literals with their names. Fields may change
// before 1.0, as CHANGELOG.md then says.
package introspect

import (
	"fmt"
	"time"

	"github.com/cnode-go/cnode/ei"
)

// A Kind says what a process is.
type Kind uint8

const (
	KindMailbox  Kind = iota + 1 // the program receives: nodes.Node.NewMailbox
	KindServer                   // nodes.Node.Serve
	KindHandler                  // nodes.Node.Handle
	KindFunction                 // a Go function that was spawned or called
	KindSystem                   // the node's own: net_kernel, rex, a call in progress
)

// String is the word for it: "server".
func (k Kind) String() string {
	if k > KindSystem {
		k = 0
	}
	return [...]string{"unknown", "mailbox", "server", "handler", "function", "system"}[k]
}

// An MFA names a function of Erlang, or one of Go: then Module is the path of its package, and
// Function what follows it, (*Till).Call.
type MFA struct {
	Module, Function ei.Atom
	Arity            int
}

// String is the function as people write it, shop:quote/1; "" without words.
func (f MFA) String() string {
	if f.Function == "" {
		return ""
	}
	return fmt.Sprintf("%s:%s/%d", string(f.Module), string(f.Function), f.Arity)
}

// A Process describes a process at a moment.
type Process struct {
	Pid    ei.Pid
	Names  []ei.Atom // that it is registered under
	Label  ei.Raw    // what nodes.Mailbox.SetLabel has set; nil: nothing
	Kind   Kind
	Parent ei.Pid // MailboxOptions.Parent, or who has called or spawned the Function; zero: nobody
	// GroupLeader is where a Function prints, an ei.Pid or an ei.Atom; nil: nowhere.
	GroupLeader ei.Term

	Queue, QueueBytes int    // messages that nobody has received, and the memory that they take
	Handled           uint64 // messages that were received since the process was made in this program

	Links, Monitors, MonitoredBy int // how many, links that are just being ended included

	TrapExit  bool
	Suspended bool // by sys:suspend/1
	Running   bool // a function of the Server or Handler runs, or the Function does and does not wait
	// Runs is the Function, or one of the Server's or the Handler's functions: what the process is
	// made of. Without words: a Mailbox, or a Server of On whose functions FuncOf has made.
	Runs MFA
	// Started is when the process was made in this program; zero for a call in progress.
	Started time.Time
	// Goroutine is the value of the label "process" by which a profile of goroutines knows the
	// process's own (Config.ProfileLabels); "": none.
	Goroutine string
}

// What a process takes besides its unread messages, in bytes: about.
const (
	mailboxSize   = 1 << 10
	goroutineSize = 4 << 10
	bondSize      = 250
)

// Memory is about how many bytes a process takes, its unread messages included.
func (p *Process) Memory() int {
	size := mailboxSize + p.QueueBytes + bondSize*(p.Links+p.Monitors+p.MonitoredBy)
	if p.Kind == KindServer || p.Kind == KindHandler || p.Kind == KindFunction {
		size += goroutineSize
	}
	return size
}

// A Target is what a process monitors: a process, or whatever has a name on a node.
type Target struct {
	Pid  ei.Pid // zero: Name
	Name ei.Atom
	Node string
}

// Details are what is kept of one process.
type Details struct {
	Process
	LinkedWith []ei.Pid
	Monitoring []Target
	Watchers   []ei.Pid
	// Messages are the oldest that nobody has received, not all of them if they are many or large.
	// One that is a signal is shown as Erlang does, {'EXIT', Pid, Reason}.
	Messages []ei.Raw
}
