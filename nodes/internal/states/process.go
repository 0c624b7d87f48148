package states

import (
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/form"
)

// A Message is a message that nobody has received yet.
type Message struct {
	Control dist.Control
	Payload ei.Raw
	Peer    string // the peer over whose connection it came; "": it is from this node
}

func (s *Message) Describe(f *form.Fields) {
	form.Number(f, 1, form.Must, &s.Control.Op)
	f.Pid(2, form.May, &s.Control.From)
	f.Pid(3, form.May, &s.Control.To)
	form.Text(f, 4, form.May, &s.Control.FromName)
	form.Text(f, 5, form.May, &s.Control.ToName)
	f.Ref(6, form.May, &s.Control.Ref)
	form.Number(f, 7, form.May, &s.Control.ID)
	form.Number(f, 8, form.May, &s.Control.Flags)
	f.Raw(9, &s.Control.Reason)
	f.Raw(10, &s.Control.Token)
	f.Pid(11, form.May, &s.Control.GroupLeader)
	form.Text(f, 12, form.May, &s.Control.Module)
	form.Text(f, 13, form.May, &s.Control.Function)
	form.Number(f, 14, form.May, &s.Control.Arity)
	f.Raw(15, &s.Control.Options)
	f.Raw(16, &s.Control.Result)
	f.Raw(17, &s.Payload)
	form.Text(f, 18, form.May, &s.Peer)
}

// A Link is a link, as its process of this node sees it.
type Link struct {
	Pid      ei.Pid
	Active   bool
	UnlinkID uint64
}

func (s *Link) Describe(f *form.Fields) {
	f.Pid(1, form.Must, &s.Pid)
	f.Bool(2, form.Must, &s.Active)
	form.Number(f, 3, form.May, &s.UnlinkID)
}

// A Watcher is a monitor on a process of this node.
type Watcher struct {
	Ref  ei.Ref
	Pid  ei.Pid
	Name ei.Atom
	// it waits for the answer to a call that the process has left for later
	Awaits bool
}

func (s *Watcher) Describe(f *form.Fields) {
	f.Ref(1, form.Must, &s.Ref)
	f.Pid(2, form.Must, &s.Pid)
	form.Text(f, 3, form.May, &s.Name)
	f.Bool(4, form.May, &s.Awaits)
}

// A Watching is a monitor that a process of this node has.
type Watching struct {
	Ref    ei.Ref
	Node   string
	Pid    ei.Pid
	Name   ei.Atom
	Worker int // the other worker of this node where the process is; 0: in none
}

func (s *Watching) Describe(f *form.Fields) {
	f.Ref(1, form.Must, &s.Ref)
	form.Text(f, 2, form.Must, &s.Node)
	f.Pid(3, form.May, &s.Pid)
	form.Text(f, 4, form.May, &s.Name)
	form.Number(f, 5, form.Given, &s.Worker)
}

// A Down is how many nodedown messages a process gets when a node goes down.
type Down struct {
	Node  string
	Count int
}

func (s *Down) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.Node)
	form.Number(f, 2, form.Must, &s.Count)
}

// Bonds are the links and monitors of one process of this node: all of them, or those with one
// peer.
type Bonds struct {
	Pid      ei.Pid
	Links    []Link
	Watchers []Watcher
	Watching []Watching
	Downs    []Down
}

func (s *Bonds) Describe(f *form.Fields) {
	f.Pid(1, form.Must, &s.Pid)
	form.Each(f, 2, form.Must, "link", &s.Links)
	form.Each(f, 3, form.Must, "watcher", &s.Watchers)
	form.Each(f, 4, form.Must, "monitor", &s.Watching)
	form.Each(f, 5, form.Must, "nodedown", &s.Downs)
}

// TakeAwaiting lists the watchers that wait for an answer, which from then on they do not.
func (s *Bonds) TakeAwaiting() (all []Watcher) {
	for i := range s.Watchers {
		if w := &s.Watchers[i]; w.Awaits {
			w.Awaits = false
			all = append(all, *w)
		}
	}
	return all
}

func (s *Bonds) Empty() bool {
	return len(s.Links)+len(s.Watchers)+len(s.Watching)+len(s.Downs) == 0
}

// A Mailbox is the state of a mailbox.
type Mailbox struct {
	Bonds    Bonds
	Names    []Name
	Limit    int
	Full     int // MailboxOptions.Full
	TrapExit bool
	Priority bool // MailboxOptions.Priority
	Messages form.List[Message]

	NodeTypes int // NodeTypes: see MonitorNodes
	NodesUp   []Up

	Served bool // a Server or a Handler had it

	Aliases []Alias

	HandsOver bool // there is a MailboxOptions.Handover
	Handover  []byte

	Parent ei.Pid // MailboxOptions.Parent
	Label  ei.Raw
}

func (s *Mailbox) Describe(f *form.Fields) {
	f.Record(1, form.Must, "process", &s.Bonds)
	form.Each(f, 2, form.Must, "name", &s.Names)
	form.Number(f, 3, form.May, &s.Limit)
	form.Number(f, 4, form.May, &s.Full)
	f.Bool(5, form.May, &s.TrapExit)
	form.Stream(f, 6, form.Must, "message", &s.Messages)
	form.Number(f, 7, form.Given, &s.NodeTypes)
	form.Each(f, 8, form.Given, "node", &s.NodesUp)
	f.Bool(9, form.May, &s.Served)
	f.Bool(10, form.May, &s.Priority)
	form.Each(f, 11, form.Given, "alias", &s.Aliases)
	f.Bool(12, form.Given, &s.HandsOver)
	f.Bytes(13, form.Given, &s.Handover)
	f.Pid(14, form.May, &s.Parent)
	f.Raw(15, &s.Label)
}

// An Alias is an active alias of a process.
type Alias struct {
	Ref     ei.Ref
	Options int // AliasOption
}

func (s *Alias) Describe(f *form.Fields) {
	f.Ref(1, form.Must, &s.Ref)
	form.Number(f, 2, form.Must, &s.Options)
}

// An Up is a node that a mailbox knows to be up.
type Up struct {
	Node    string
	Visible bool
}

func (s *Up) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.Node)
	f.Bool(2, form.May, &s.Visible)
}

// A Name is a registered name.
type Name struct{ Name ei.Atom }

func (s *Name) Describe(f *form.Fields) { form.Text(f, 1, form.Must, &s.Name) }
