package talk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"

	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport/handoff"
)

// A Message is a pointer to one of the types below. It is written as JSON: its fields, and its
// topic under "topic". Once a version is released topics and names of fields stay as they are: the
// two processes may be of different versions. Part is always the number of a worker; the sender
// does not name itself.
type Message interface{ topic() string }

// What the front says to a worker.
type (
	// Welcome says who the worker is.
	Welcome struct {
		Part     int    `json:"worker,omitempty"`
		Name     string `json:"name,omitempty"` // of the node, as is Creation
		Creation uint32 `json:"creation,omitempty"`
		FD       int    `json:"-"` // the table of names, if there is one
	}
	// SessionSocket: further sessions come through another socket.
	SessionSocket struct {
		Number uint64 `json:"socket,omitempty"`
		FD     int    `json:"-"`
	}
	// Session is a session that is unfit for BIND 10's form.
	Session struct {
		Plugin string `json:"plugin,omitempty"`
		Place  int    `json:"place,omitempty"` // of the transport, among those of that plug-in
		State  []byte `json:"state,omitempty"` // the plug-in's
		Data   []byte `json:"data,omitempty"`  // read
		FD     int    `json:"-"`
	}
	// Probe: are you there?
	Probe struct {
		ID uint64 `json:"id,omitempty"`
	}
	// LinkRequest: a worker wants a way to a peer. Say RemoteLink or NoConn to it.
	LinkRequest struct {
		Part int    `json:"worker,omitempty"`
		Peer string `json:"peer,omitempty"`
	}
	// Answer answers a Question; each kind of question says what else there is.
	Answer struct {
		ID     uint64 `json:"id,omitempty"` // the question's
		Part   int    `json:"worker,omitempty"`
		OK     bool   `json:"ok,omitempty"`
		Number uint64 `json:"key,omitempty"` // Register.Key
	}
	// Published: whether the node is found under its name. It is as long as nothing is said.
	Published struct {
		OK bool `json:"published,omitempty"`
	}
	// Finish: end in good order.
	Finish struct{}
	// Move: give everything to another process.
	Move struct {
		ID uint64 `json:"id,omitempty"`
		FD int    `json:"-"` // the channel to that process
	}
)

// What a worker says to the front.
type (
	// Ready: sessions may come.
	Ready struct{}
	// Took: the oldest untaken session has been taken, of those that came this way.
	Took struct {
		Via int `json:"via,omitempty"` // ViaForwarder or ViaLine
	}
	// SocketLost: a socket for sessions is no more; what was left in it, or an earlier one, is lost.
	SocketLost struct {
		Number uint64 `json:"socket,omitempty"`
	}
	// Here answers a Probe.
	Here struct {
		ID uint64 `json:"id,omitempty"` // the probe's
	}
	// Up: a connection to a peer is up.
	Up struct {
		Peer string `json:"peer,omitempty"`
		// under which its session or claim was counted; "" if it had no name
		Key string `json:"key,omitempty"`
	}
	// Over: a session, claim or connection of a peer has ended.
	Over struct {
		Peer    string `json:"peer,omitempty"`
		Untaken bool   `json:"untaken,omitempty"` // a session that could not be taken
		Now     bool   `json:"-"`                 // the front waits for it: it is not kept back
	}
	// Release: no process here has the registered name any more.
	Release struct {
		Name string `json:"name,omitempty"`
	}
	// Moved: another process is the worker now, which the front knows.
	Moved struct {
		PID int `json:"pid,omitempty"`
	}
	// Stayed: a move came to nothing, and the old process is the worker still.
	Stayed struct {
		Move uint64 `json:"move,omitempty"`
		Why  string `json:"why,omitempty"`
	}
)

// A Question is what a worker asks the front.
type Question interface {
	Message
	Number() *uint64 // its ID, which the answer has, too
}

// The questions.
type (
	// Claim: may I connect to the peer? Answer.Part: if it is you, yes; if it is another worker,
	// that one was sent a LinkRequest.
	Claim struct {
		ID   uint64 `json:"id,omitempty"`
		Peer string `json:"peer,omitempty"`
	}
	// Register: may a process have this name? Answer.OK.
	Register struct {
		ID   uint64 `json:"id,omitempty"`
		Name string `json:"name,omitempty"`
		Key  uint64 `json:"key,omitempty"` // of the process's pid
	}
	// Lookup: who has this name? Answer.OK: it is registered, in the worker Part, by the process
	// with the key Number.
	Lookup struct {
		ID   uint64 `json:"id,omitempty"`
		Name string `json:"name,omitempty"`
	}
)

func (q *Claim) Number() *uint64    { return &q.ID }
func (q *Register) Number() *uint64 { return &q.ID }
func (q *Lookup) Number() *uint64   { return &q.ID }

// What both say, each with a meaning of its own. The front passes a worker's RemoteLink and NoConn
// on to another worker: in what the first one says Part is the receiver, and in what the front
// passes on it is the sender.
type (
	// WorkerLink, of the front: your way to another worker, or, without Newest and FD: that way is
	// lost. Of a worker: I have no way to that one.
	WorkerLink struct {
		Newest uint64 `json:"newest,omitempty"` // the newest worker's number
		Part   int    `json:"worker,omitempty"`
		FD     int    `json:"-"`
	}
	// CloseConn, of the front: the peer has connected anew elsewhere, or (Closed) another worker
	// has closed its remote link of your connection. Of a worker: I have closed my remote link of
	// the connection to the peer.
	CloseConn struct {
		Peer   string `json:"peer,omitempty"`
		Closed bool   `json:"closed,omitempty"`
	}
	// RemoteLink is a way to Peer, to which the sender is connected.
	RemoteLink struct {
		Part int        `json:"worker,omitempty"`
		Peer *dist.Peer `json:"peer,omitempty"`
		FD   int        `json:"-"`
	}
	// NoConn: I have no connection to the peer. Of the front, without Peer: the worker Part has ended.
	NoConn struct {
		Part int    `json:"worker,omitempty"`
		Peer string `json:"peer,omitempty"`
	}
)

// Unknown is a message of another version; nothing is done about it.
type Unknown struct {
	Topic string          `json:"topic"`
	JSON  json.RawMessage `json:"-"` // all of it
	FD    int             `json:"-"`
}

// MoveMark begins the variable of a process that takes another worker's place; the descriptor of
// the channel to that one follows.
const MoveMark = "upgrade,"

// The two ways in which a session comes to a worker.
const (
	ViaForwarder = iota // in BIND 10's form, through the socket for sessions
	ViaLine             // as a message, Session
)

func (*Welcome) topic() string       { return "welcome" }
func (*SessionSocket) topic() string { return "session_socket" }
func (*Session) topic() string       { return "session" }
func (*Probe) topic() string         { return "probe" }
func (*LinkRequest) topic() string   { return "link_request" }
func (*Answer) topic() string        { return "answer" }
func (*Published) topic() string     { return "published" }
func (*Finish) topic() string        { return "finish" }
func (*Move) topic() string          { return "move" }
func (*Ready) topic() string         { return "ready" }
func (*Took) topic() string          { return "took" }
func (*SocketLost) topic() string    { return "socket_lost" }
func (*Here) topic() string          { return "here" }
func (*Up) topic() string            { return "up" }
func (*Over) topic() string          { return "over" }
func (*Release) topic() string       { return "release" }
func (*Moved) topic() string         { return "moved" }
func (*Stayed) topic() string        { return "stayed" }
func (*Claim) topic() string         { return "claim" }
func (*Register) topic() string      { return "register" }
func (*Lookup) topic() string        { return "lookup" }
func (*WorkerLink) topic() string    { return "worker_link" }
func (*CloseConn) topic() string     { return "close_conn" }
func (*RemoteLink) topic() string    { return "remote_link" }
func (*NoConn) topic() string        { return "no_conn" }
func (m *Unknown) topic() string     { return m.Topic }

// types has the type of each topic.
var types = map[string]reflect.Type{}

func init() {
	for _, m := range []Message{
		&Welcome{}, &SessionSocket{}, &Session{}, &Probe{}, &LinkRequest{}, &Answer{}, &Published{}, &Finish{}, &Move{},
		&Ready{}, &Took{}, &SocketLost{}, &Here{}, &Up{}, &Over{}, &Release{}, &Moved{}, &Stayed{},
		&Claim{}, &Register{}, &Lookup{}, &WorkerLink{}, &CloseConn{}, &RemoteLink{}, &NoConn{},
	} {
		types[m.topic()] = reflect.TypeOf(m).Elem()
	}
}

// Marshal writes a message, without its descriptor.
func Marshal(m Message) ([]byte, error) {
	if u, ok := m.(*Unknown); ok {
		return u.JSON, nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	defer clear(b) // a session's state may hold keys
	head := `{"topic":"` + m.topic() + `"`
	if len(b) > len("{}") {
		head += ","
	}
	return append([]byte(head), b[1:]...), nil
}

// Parse reads a message, and keeps nothing of b. It owns fd, the descriptor that came along, on
// failure too; 0: none.
func Parse(b []byte, fd int) (Message, error) {
	u := &Unknown{FD: fd}
	err := json.Unmarshal(b, u)
	var m Message = u
	if t := types[u.Topic]; err == nil && t != nil {
		m = reflect.New(t).Interface().(Message)
		if its := descriptorOf(m); its != nil {
			*its = fd
		} else {
			Drop(u)
		}
		err = json.Unmarshal(b, m)
	}
	if err != nil {
		Drop(m)
		return nil, err
	}
	if m == u {
		u.JSON = bytes.Clone(b)
	}
	return m, nil
}

// descriptorOf is where a message has the descriptor that comes along, which it owns: 0 is none,
// since a descriptor is 3 or higher. nil: none belongs to messages of this type.
func descriptorOf(m Message) *int {
	if fd := reflect.ValueOf(m).Elem().FieldByName("FD"); fd.IsValid() {
		return fd.Addr().Interface().(*int)
	}
	return nil
}

// Descriptor is the descriptor that comes along with a message, and stays the message's; 0: none.
func Descriptor(m Message) int {
	if fd := descriptorOf(m); fd != nil {
		return *fd
	}
	return 0
}

// canWait tells whether a message may be kept back. One by which the front learns of a peer that it
// has not heard of may not.
func canWait(m Message) bool {
	switch m := m.(type) {
	case *Took:
		return true
	case *Over:
		return !m.Now
	case *Up:
		return m.Key == m.Peer
	}
	return false
}

// A message owns its descriptor, and the keys of a session. On both sides, and whatever its type,
// the function that takes a message drops it once it is dealt with; what is still needed then must
// have been taken out of the message before, by Keep.

// Keep returns the message with what it owns; m is empty afterwards.
func Keep[T any](m *T) *T {
	kept := *m
	*m = *new(T)
	return &kept
}

// Drop closes the descriptor of a message, and clears the keys of the session that came with it.
func Drop(m Message) {
	if s, ok := m.(*Session); ok {
		clear(s.State)
	}
	if fd := descriptorOf(m); fd != nil && *fd > 0 {
		if set, err := handoff.NewFDSet(*fd); err == nil {
			_ = set.Close()
		}
		*fd = 0
	}
}

// DropAll drops messages that were not taken.
func DropAll[M Message](list []M) {
	for _, m := range list {
		Drop(m)
	}
}

// ErrLost: a message has come without its descriptor, since no descriptor number was free
// (RLIMIT_NOFILE).
var ErrLost = fmt.Errorf("its descriptor was lost: %w", handoff.ErrDescriptorsLost)

// marshalAll writes messages that go out together.
func marshalAll(list []Message) ([]byte, error) {
	packet := []byte("[")
	for i, m := range list {
		b, err := Marshal(m)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			packet = append(packet, ',')
		}
		packet = append(packet, b...)
	}
	return append(packet, ']'), nil
}

// parseAll gives the messages of a packet to take. fd belongs to the first one.
func parseAll(b []byte, fd int, take func(Message)) error {
	var all []json.RawMessage
	err := json.Unmarshal(b, &all)
	if err == nil && len(all) == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		Drop(&Unknown{FD: fd})
		return err
	}
	var list []Message
	for _, one := range all {
		m, err := Parse(one, fd)
		if err != nil {
			DropAll(list)
			return err
		}
		list = append(list, m)
		fd = 0
	}
	for _, m := range list {
		take(m)
	}
	return nil
}
