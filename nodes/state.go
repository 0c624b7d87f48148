package nodes

import (
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/form"
)

// The state of a connection, or of a node, is what another process needs beside the descriptors to go on in its place.
//
// How it is written is package form's. A version that adds what the older one can do without adds an optional field; one that adds what
// must not be lost adds a mandatory one, which is written only where it has something to say, and a feature for it (StateFeatures), by
// which who does not know it is found out at hello.
//
// # What is not in it
//
// Goroutines, and with them calls in progress; the cookie, the transports and all else of Config, which the new process has by itself;
// the table of atoms, which saves memory and no more (neither atom cache nor fragments are ever negotiated); a counter of UNLINK_IDs, for
// they are random.

// The kinds of state.
const (
	kindConn   = 'c'
	kindNode   = 'n'
	kindFront  = 'f'
	kindWorker = 'w'
)

// A messageState is a message that nobody has received yet.
type messageState struct {
	ctl     dist.Control
	payload ei.Raw
	peer    string // whose connection it came over; "": it is from this node
}

func (s *messageState) Describe(f *form.Fields) {
	form.Number(f, 1, form.Must, &s.ctl.Op)
	f.Pid(2, form.May, &s.ctl.From)
	f.Pid(3, form.May, &s.ctl.To)
	form.Text(f, 4, form.May, &s.ctl.FromName)
	form.Text(f, 5, form.May, &s.ctl.ToName)
	f.Ref(6, form.May, &s.ctl.Ref)
	form.Number(f, 7, form.May, &s.ctl.ID)
	form.Number(f, 8, form.May, &s.ctl.Flags)
	f.Raw(9, &s.ctl.Reason)
	f.Raw(10, &s.ctl.Token)
	f.Pid(11, form.May, &s.ctl.GroupLeader)
	form.Text(f, 12, form.May, &s.ctl.Module)
	form.Text(f, 13, form.May, &s.ctl.Function)
	form.Number(f, 14, form.May, &s.ctl.Arity)
	f.Raw(15, &s.ctl.Options)
	f.Raw(16, &s.ctl.Result)
	f.Raw(17, &s.payload)
	form.Text(f, 18, form.May, &s.peer)
}

// A linkState is a link, as its process of this node sees it.
type linkState struct {
	pid      ei.Pid
	active   bool
	unlinkID uint64
}

func (s *linkState) Describe(f *form.Fields) {
	f.Pid(1, form.Must, &s.pid)
	f.Bool(2, form.Must, &s.active)
	form.Number(f, 3, form.May, &s.unlinkID)
}

// A watcherState is a monitor on a process of this node.
type watcherState struct {
	ref  ei.Ref
	pid  ei.Pid
	name ei.Atom
}

func (s *watcherState) Describe(f *form.Fields) {
	f.Ref(1, form.Must, &s.ref)
	f.Pid(2, form.Must, &s.pid)
	form.Text(f, 3, form.May, &s.name)
}

// A watchingState is a monitor of a process of this node.
type watchingState struct {
	ref    ei.Ref
	node   string
	pid    ei.Pid
	name   ei.Atom
	worker int // of this node
}

func (s *watchingState) Describe(f *form.Fields) {
	f.Ref(1, form.Must, &s.ref)
	form.Text(f, 2, form.Must, &s.node)
	f.Pid(3, form.May, &s.pid)
	form.Text(f, 4, form.May, &s.name)
	form.Number(f, 5, form.Given, &s.worker)
}

// A downState is what a process is owed when a node goes down.
type downState struct {
	node  string
	count int
}

func (s *downState) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.node)
	form.Number(f, 2, form.Must, &s.count)
}

// bonds are what one process of this node has with others: all of it, or what it has with one peer.
type bonds struct {
	pid      ei.Pid
	links    []linkState
	watchers []watcherState
	watching []watchingState
	downs    []downState
}

func (s *bonds) Describe(f *form.Fields) {
	f.Pid(1, form.Must, &s.pid)
	form.Each(f, 2, form.Must, "link", &s.links)
	form.Each(f, 3, form.Must, "watcher", &s.watchers)
	form.Each(f, 4, form.Must, "monitor", &s.watching)
	form.Each(f, 5, form.Must, "nodedown", &s.downs)
}

func (s *bonds) empty() bool {
	return len(s.links)+len(s.watchers)+len(s.watching)+len(s.downs) == 0
}

// A clockState is where a connection's clock stands, as ages: the two processes need not agree on the time of day.
type clockState struct {
	age    time.Duration // since the last tick
	idle   bool          // nothing was sent since
	heard  bool          // something was received since
	missed int           // ticks in a row without anything received
	asked  bool          // see ticker
}

func (s *clockState) Describe(f *form.Fields) {
	form.Number(f, 1, form.Must, &s.age)
	f.Bool(2, form.May, &s.idle)
	f.Bool(3, form.May, &s.heard)
	form.Number(f, 4, form.May, &s.missed)
	f.Bool(5, form.May, &s.asked)
}

// A connState is a connection.
type connState struct {
	carriage
	export       []byte // the plug-in's own
	descriptor   int    // where among those of the node
	self         string
	selfCreation uint32
	peer         dist.Peer
	initiated    bool
	pid          ei.Pid         // Conn.Self
	ahead        []byte         // read, and not consumed: half a frame, or several
	rest         []byte         // to be sent: the rest of a half-sent frame, then whole ones
	unread       []messageState // read beside a Call, and received by nobody
	clock        *clockState    // nil: it begins anew
	bonds        []bonds        // of a connection that moves by itself; a node's are with its mailboxes
	received     int64
	messages     int64
	sent         int64
	made         int64       // Conn.made
	giver        *giverState // of a connection that moves by itself; nil: an earlier process does not say

	// Between the workers of one node.
	worker   int   // sibling, branch
	shadow   bool  // of another worker's connection
	trunk    place // branch: of the connection among those of the node
	links    []crossingState
	monitors []crossMonitorState
	staked   bool   // the front counts it …
	stake    string // … under this name
}

func (s *connState) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.plugin)
	f.Bytes(2, form.Must, &s.export)
	form.Number(f, 3, form.Must, &s.descriptor)
	form.Text(f, 4, form.Must, &s.self)
	form.Number(f, 5, form.Must, &s.selfCreation)
	form.Text(f, 6, form.Must, &s.peer.Name)
	form.Number(f, 7, form.Must, &s.peer.Creation)
	form.Number(f, 8, form.Must, &s.peer.Flags)
	form.Number(f, 9, form.Must, &s.peer.Announced)
	form.Number(f, 10, form.Must, &s.peer.Version)
	form.Text(f, 11, form.May, &s.peer.Status)
	f.Bool(12, form.May, &s.initiated)
	f.Pid(13, form.Must, &s.pid)
	f.Bytes(14, form.Must, &s.ahead)
	f.Bytes(15, form.Must, &s.rest)
	form.Each(f, 16, form.Must, "message", &s.unread)
	form.One(f, 17, form.May, "clock", &s.clock)
	form.Each(f, 18, form.Must, "process", &s.bonds)
	form.Number(f, 19, form.May, &s.received)
	form.Number(f, 20, form.May, &s.messages)
	form.Number(f, 21, form.May, &s.sent)
	form.Number(f, 22, form.Given, &s.worker)
	f.Bool(23, form.Given, &s.shadow)
	form.Number(f, 24, form.Given, &s.trunk)
	form.Each(f, 25, form.Given, "link", &s.links)
	form.Each(f, 26, form.Given, "monitor", &s.monitors)
	f.Bool(27, form.Given, &s.staked)
	form.Text(f, 28, form.Given, &s.stake)
	form.Number(f, 29, form.May, &s.made)
	form.Number(f, 30, form.May, &s.place)
	form.One(f, 31, form.May, "giver", &s.giver)
	s.peer.SelfName, s.peer.SelfCreation = s.self, s.selfCreation
}

// A giverState says which Node a connection comes from, and where that makes its pids.
type giverState struct {
	instance uint64 // Node.instance
	worker   uint16 // Config.Worker
}

func (s *giverState) Describe(f *form.Fields) {
	form.Number(f, 1, form.May, &s.instance)
	form.Number(f, 2, form.May, &s.worker)
}

// A crossingState is a link between a process of the peer and one of another worker.
type crossingState crossing

func (s *crossingState) Describe(f *form.Fields) {
	f.Pid(1, form.Must, &s.remote)
	f.Pid(2, form.Must, &s.local)
}

// A crossMonitorState is a monitor on a process of another worker.
type crossMonitorState struct {
	ref ei.Ref
	crossMonitor
}

func (s *crossMonitorState) Describe(f *form.Fields) {
	f.Ref(1, form.Must, &s.ref)
	f.Pid(2, form.Must, &s.watcher)
	f.Pid(3, form.May, &s.pid)
	form.Text(f, 4, form.May, &s.name)
}

// A mailboxState is a process.
type mailboxState struct {
	bonds    *bonds
	names    []nameState
	limit    int
	full     Full
	trapExit bool
	messages []messageState

	nodeTypes NodeTypes // see MonitorNodes
	nodesUp   []upState
}

func (s *mailboxState) Describe(f *form.Fields) {
	form.One(f, 1, form.Must, "process", &s.bonds)
	form.Each(f, 2, form.Must, "name", &s.names)
	form.Number(f, 3, form.May, &s.limit)
	form.Number(f, 4, form.May, &s.full)
	f.Bool(5, form.May, &s.trapExit)
	form.Each(f, 6, form.Must, "message", &s.messages)
	form.Number(f, 7, form.Given, &s.nodeTypes)
	form.Each(f, 8, form.Given, "node", &s.nodesUp)
}

// A nameState is a registered name.
type nameState struct{ name ei.Atom }

func (s *nameState) Describe(f *form.Fields) { form.Text(f, 1, form.Must, &s.name) }

// A listenerState is a listener.
type listenerState struct {
	carriage
	descriptor int
	serves     bool // it is Start's, and accepts by itself
	keepsPath  bool // the file of its socket is somebody else's
}

func (s *listenerState) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.plugin)
	form.Number(f, 2, form.Must, &s.descriptor)
	f.Bool(3, form.May, &s.serves)
	form.Number(f, 4, form.Given, &s.place) // another one may let in whom this one does not
	f.Bool(5, form.May, &s.keepsPath)
}

// A publicationState is a name that is published in a way that can move.
type publicationState struct {
	state       []byte // the Publication's own
	descriptors int    // how many, from first on
	first       int
}

func (s *publicationState) Describe(f *form.Fields) {
	f.Bytes(1, form.Must, &s.state)
	form.Number(f, 2, form.Must, &s.descriptors)
	form.Number(f, 3, form.Must, &s.first)
}

// A nodeState is a whole node.
type nodeState struct {
	name        string
	creation    uint32
	pids, refs  uint64 // counters
	started     bool
	published   bool
	conns       []connState
	mailboxes   []mailboxState
	orphans     []bonds // of processes that do not move: calls in progress
	listeners   []listenerState
	publication *publicationState // nil: none that moves
	blob        []byte            // the application's
	stats       [4]int64
}

func (s *nodeState) Describe(f *form.Fields) {
	form.Text(f, 1, form.Must, &s.name)
	form.Number(f, 2, form.Must, &s.creation)
	form.Number(f, 3, form.Must, &s.pids)
	form.Number(f, 4, form.Must, &s.refs)
	f.Bool(5, form.Must, &s.started)
	f.Bool(6, form.Must, &s.published)
	form.Each(f, 7, form.Must, "connection", &s.conns)
	form.Each(f, 8, form.Must, "mailbox", &s.mailboxes)
	form.Each(f, 9, form.May, "call", &s.orphans)
	form.Each(f, 10, form.Must, "listener", &s.listeners)
	form.One(f, 11, form.Must, "publication", &s.publication)
	f.Bytes(12, form.May, &s.blob)
	for i := range s.stats {
		form.Number(f, 13+uint64(i), form.May, &s.stats[i])
	}
}
