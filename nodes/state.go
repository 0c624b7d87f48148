package nodes

import (
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// The state of a connection, or of a node, is what another process needs beside the descriptors to go on in its place.
//
// # Form
//
// A state begins with "cnode-state", a letter (c: a connection, n: a node, f: a front, w: a worker) and the version of the format, 1. A
// record follows: fields, each of them
//
//	tag<<1 | mandatory   unsigned varint
//	length in bytes      unsigned varint
//	value
//
// A value is an unsigned varint, bytes, text, a pid or reference in the external term format (empty: none), or a record. A field that may
// occur several times is a list. Who reads a field that it does not know skips it, unless it is mandatory: then it refuses the state. So
// a version that adds what the older one can do without adds an optional field, one that adds what must not be lost a mandatory one,
// which is written only where it has something to say, and a feature for it (StateFeatures), by which who does not know it is found out
// at hello. Tags are never used again.
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

func (s *messageState) describe(f *form) {
	number(f, 1, must, &s.ctl.Op)
	f.pid(2, may, &s.ctl.From)
	f.pid(3, may, &s.ctl.To)
	text(f, 4, may, &s.ctl.FromName)
	text(f, 5, may, &s.ctl.ToName)
	f.ref(6, may, &s.ctl.Ref)
	number(f, 7, may, &s.ctl.ID)
	number(f, 8, may, &s.ctl.Flags)
	f.raw(9, &s.ctl.Reason)
	f.raw(10, &s.ctl.Token)
	f.pid(11, may, &s.ctl.GroupLeader)
	text(f, 12, may, &s.ctl.Module)
	text(f, 13, may, &s.ctl.Function)
	number(f, 14, may, &s.ctl.Arity)
	f.raw(15, &s.ctl.Options)
	f.raw(16, &s.ctl.Result)
	f.raw(17, &s.payload)
	text(f, 18, may, &s.peer)
}

// A linkState is a link, as its process of this node sees it.
type linkState struct {
	pid      ei.Pid
	active   bool
	unlinkID uint64
}

func (s *linkState) describe(f *form) {
	f.pid(1, must, &s.pid)
	f.bool(2, must, &s.active)
	number(f, 3, may, &s.unlinkID)
}

// A watcherState is a monitor on a process of this node.
type watcherState struct {
	ref  ei.Ref
	pid  ei.Pid
	name ei.Atom
}

func (s *watcherState) describe(f *form) {
	f.ref(1, must, &s.ref)
	f.pid(2, must, &s.pid)
	text(f, 3, may, &s.name)
}

// A watchingState is a monitor of a process of this node.
type watchingState struct {
	ref    ei.Ref
	node   string
	pid    ei.Pid
	name   ei.Atom
	worker int // of this node
}

func (s *watchingState) describe(f *form) {
	f.ref(1, must, &s.ref)
	text(f, 2, must, &s.node)
	f.pid(3, may, &s.pid)
	text(f, 4, may, &s.name)
	number(f, 5, given, &s.worker)
}

// A downState is what a process is owed when a node goes down.
type downState struct {
	node  string
	count int
}

func (s *downState) describe(f *form) {
	text(f, 1, must, &s.node)
	number(f, 2, must, &s.count)
}

// bonds are what one process of this node has with others: all of it, or what it has with one peer.
type bonds struct {
	pid      ei.Pid
	links    []linkState
	watchers []watcherState
	watching []watchingState
	downs    []downState
}

func (s *bonds) describe(f *form) {
	f.pid(1, must, &s.pid)
	each(f, 2, must, "link", &s.links)
	each(f, 3, must, "watcher", &s.watchers)
	each(f, 4, must, "monitor", &s.watching)
	each(f, 5, must, "nodedown", &s.downs)
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

func (s *clockState) describe(f *form) {
	number(f, 1, must, &s.age)
	f.bool(2, may, &s.idle)
	f.bool(3, may, &s.heard)
	number(f, 4, may, &s.missed)
	f.bool(5, may, &s.asked)
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
	made         int64 // Conn.made

	// Between the workers of one node.
	worker   int   // sibling, branch
	shadow   bool  // of another worker's connection
	trunk    place // branch: of the connection among those of the node
	links    []crossingState
	monitors []crossMonitorState
	staked   bool   // the front counts it …
	stake    string // … under this name
}

func (s *connState) describe(f *form) {
	text(f, 1, must, &s.plugin)
	f.bytes(2, must, &s.export)
	number(f, 3, must, &s.descriptor)
	text(f, 4, must, &s.self)
	number(f, 5, must, &s.selfCreation)
	text(f, 6, must, &s.peer.Name)
	number(f, 7, must, &s.peer.Creation)
	number(f, 8, must, &s.peer.Flags)
	number(f, 9, must, &s.peer.Announced)
	number(f, 10, must, &s.peer.Version)
	text(f, 11, may, &s.peer.Status)
	f.bool(12, may, &s.initiated)
	f.pid(13, must, &s.pid)
	f.bytes(14, must, &s.ahead)
	f.bytes(15, must, &s.rest)
	each(f, 16, must, "message", &s.unread)
	one(f, 17, may, "clock", &s.clock)
	each(f, 18, must, "process", &s.bonds)
	number(f, 19, may, &s.received)
	number(f, 20, may, &s.messages)
	number(f, 21, may, &s.sent)
	number(f, 22, given, &s.worker)
	f.bool(23, given, &s.shadow)
	number(f, 24, given, &s.trunk)
	each(f, 25, given, "link", &s.links)
	each(f, 26, given, "monitor", &s.monitors)
	f.bool(27, given, &s.staked)
	text(f, 28, given, &s.stake)
	number(f, 29, may, &s.made)
	number(f, 30, may, &s.place)
	s.peer.SelfName, s.peer.SelfCreation = s.self, s.selfCreation
}

// A crossingState is a link between a process of the peer and one of another worker.
type crossingState crossing

func (s *crossingState) describe(f *form) {
	f.pid(1, must, &s.remote)
	f.pid(2, must, &s.local)
}

// A crossMonitorState is a monitor on a process of another worker.
type crossMonitorState struct {
	ref ei.Ref
	crossMonitor
}

func (s *crossMonitorState) describe(f *form) {
	f.ref(1, must, &s.ref)
	f.pid(2, must, &s.watcher)
	f.pid(3, may, &s.pid)
	text(f, 4, may, &s.name)
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

func (s *mailboxState) describe(f *form) {
	one(f, 1, must, "process", &s.bonds)
	each(f, 2, must, "name", &s.names)
	number(f, 3, may, &s.limit)
	number(f, 4, may, &s.full)
	f.bool(5, may, &s.trapExit)
	each(f, 6, must, "message", &s.messages)
	number(f, 7, given, &s.nodeTypes)
	each(f, 8, given, "node", &s.nodesUp)
}

// A nameState is a registered name.
type nameState struct{ name ei.Atom }

func (s *nameState) describe(f *form) { text(f, 1, must, &s.name) }

// A listenerState is a listener.
type listenerState struct {
	carriage
	descriptor int
	serves     bool // it is Start's, and accepts by itself
	keepsPath  bool // the file of its socket is somebody else's
}

func (s *listenerState) describe(f *form) {
	text(f, 1, must, &s.plugin)
	number(f, 2, must, &s.descriptor)
	f.bool(3, may, &s.serves)
	number(f, 4, given, &s.place) // another one may let in whom this one does not
	f.bool(5, may, &s.keepsPath)
}

// A publicationState is a name that is published in a way that can move.
type publicationState struct {
	state       []byte // the Publication's own
	descriptors int    // how many, from first on
	first       int
}

func (s *publicationState) describe(f *form) {
	f.bytes(1, must, &s.state)
	number(f, 2, must, &s.descriptors)
	number(f, 3, must, &s.first)
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

func (s *nodeState) describe(f *form) {
	text(f, 1, must, &s.name)
	number(f, 2, must, &s.creation)
	number(f, 3, must, &s.pids)
	number(f, 4, must, &s.refs)
	f.bool(5, must, &s.started)
	f.bool(6, must, &s.published)
	each(f, 7, must, "connection", &s.conns)
	each(f, 8, must, "mailbox", &s.mailboxes)
	each(f, 9, may, "call", &s.orphans)
	each(f, 10, must, "listener", &s.listeners)
	one(f, 11, must, "publication", &s.publication)
	f.bytes(12, may, &s.blob)
	for i := range s.stats {
		number(f, 13+uint64(i), may, &s.stats[i])
	}
}
