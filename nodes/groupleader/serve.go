package groupleader

import (
	"context"
	"io"
	"slices"
	"sync"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/asker"
	"github.com/cnode-go/cnode/transport"
)

// Options are for Serve.
type Options struct {
	// In is what others read, as from a terminal; nil: nothing ({error, enotsup}). It is read only
	// while somebody waits for it. A Read that waits when the process ends goes on until it returns.
	In io.Reader
	// Columns and Rows are the size of the terminal that out is; 0: it is none.
	Columns, Rows int
}

const (
	maxNested = 16  // {requests, [{requests, …}]}
	maxLate   = 100 // answers that wait for a node that does not read; further ones are dropped
)

// Serve starts a process that is a group leader, or any other I/O device, under a name; with an
// empty name it is reached by its pid. What others print to it goes to out, in UTF-8, a request at
// a time, and they wait until out has it: one that blocks holds up all of them, and a hand-off of
// the node. An error of out is terminated for whoever prints. Requests come from any process that
// knows the pid: Limits as for any Mailbox; options may be nil.
//
// io:format and io:write leave the formatting to the device: io_lib:format and its like are done as
// Erlang does them, except that ~p breaks no lines, takes any list of printable characters for
// text, and that an identifier of a process is printed with its node. Of other functions that are
// to make the text only the caller's own node knows: the answer is {error, Function}.
//
// To read terms or tokens (io:read, io:fread), the node of whoever reads is called for the function
// that takes the text apart. A read that waits does not move with the node.
//
// The errors for the name, and when to call it, are as for Node.Handle.
func Serve(n *nodes.Node, name string, out io.Writer, o *Options) (*nodes.Mailbox, error) {
	s := &server{n: n, out: out, late: make(chan struct{}, maxLate)}
	if o != nil {
		s.columns, s.rows = o.Columns, o.Rows
		if o.In != nil {
			s.in = newInput(s, o.In)
		}
	}
	return n.Handle(name, s.handle, nil)
}

// A server is the state of a device.
type server struct {
	n             *nodes.Node
	in            *input // nil: there is nothing to read
	columns, rows int
	late          chan struct{} // has an element for each answer that waits

	mu     sync.Mutex // guards what follows
	out    io.Writer
	binary bool // what is read is a binary, not a string
}

// A client is who waits for the answer to a request.
type client struct {
	self    *nodes.Mailbox // the device
	pid     ei.Pid
	replyAs ei.Term
}

// handle takes {io_request, From, ReplyAs, Request}. From is of the node that has sent it: others
// are answered by nobody.
func (s *server) handle(self *nodes.Mailbox, m *nodes.Message) {
	defer m.Release()
	t, err := ei.DecodeOptions{Strict: true}.Decode(m.Payload)
	if err != nil {
		return
	}
	request, ok := t.(ei.Tuple)
	if !ok || len(request) != 4 || request[0] != ei.Atom("io_request") {
		return
	}
	pid, ok := request[1].(ei.Pid)
	if !ok || string(pid.Node) != asker.Of(s.n, m.Conn()) {
		return
	}
	a := client{self, pid, request[2]}
	if !reads(request[3], 0) {
		s.answer(a, s.reply(a, request[3], 0))
	} else if s.in == nil || !s.in.add(a, request[3]) {
		s.answer(a, ei.Tagged("error", ei.Atom("enotsup")))
	}
}

// answer sends {io_reply, ReplyAs, Reply}. A node that does not read holds up nobody.
func (s *server) answer(a client, reply ei.Term) {
	message := ei.Tuple{ei.Atom("io_reply"), a.replyAs, reply}
	if a.self.Send(nodes.NoConnect(transport.NoWait()), a.pid, message) == nil {
		return
	}
	select {
	case s.late <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-s.late }()
		ctx, cancel := untilEnd(a.self)
		defer cancel()
		_ = a.self.Send(nodes.NoConnect(ctx), a.pid, message) // an error: the connection has ended
	}()
}

// untilEnd is a context that ends with a mailbox.
func untilEnd(box *nodes.Mailbox) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-box.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func isFailed(reply ei.Term) bool {
	t, ok := reply.(ei.Tuple)
	return ok && len(t) == 2 && t[0] == ei.Atom("error")
}

// operation splits a request into its name and its arguments.
func operation(request ei.Term) (op ei.Atom, args []ei.Term) {
	if t, ok := request.(ei.Tuple); ok && len(t) > 0 {
		op, _ = t[0].(ei.Atom)
		return op, t[1:]
	}
	op, _ = request.(ei.Atom)
	return op, nil
}

// reads tells whether a request, or one of several, waits for what is read.
func reads(request ei.Term, depth int) bool {
	switch op, args := operation(request); op {
	case "get_line", "get_chars", "get_until":
		return true
	case "requests":
		if depth < maxNested && len(args) == 1 {
			list, _ := ei.Elements(args[0])
			return slices.ContainsFunc(list, func(r ei.Term) bool { return reads(r, depth+1) })
		}
	}
	return false
}

// reply does what a request asks for.
func (s *server) reply(a client, request ei.Term, depth int) ei.Term {
	op, args := operation(request)
	switch op {
	case "put_chars":
		return s.putChars(args)
	case "get_line", "get_chars", "get_until":
		return s.in.read(a, op, args)
	case "get_password":
		return ei.Tagged("error", ei.Atom("enotsup"))
	case "setopts":
		if len(args) == 1 {
			return s.setOptions(args[0])
		}
	case "getopts":
		if len(args) == 0 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return ei.List{
				ei.Tuple{ei.Atom("binary"), boolean(s.binary)},
				ei.Tuple{ei.Atom("encoding"), ei.Atom("unicode")},
			}
		}
	case "get_geometry":
		if len(args) == 1 {
			return s.geometry(args[0])
		}
	case "requests":
		list, ok := []ei.Term(nil), false
		if len(args) == 1 {
			list, ok = ei.Elements(args[0])
		}
		if !ok || depth >= maxNested {
			break
		}
		reply := ei.Term(ei.Atom("ok"))
		for _, r := range list { // until one fails
			if reply = s.reply(a, r, depth+1); isFailed(reply) {
				break
			}
		}
		return reply
	}
	return ei.Tagged("error", ei.Atom("request"))
}

func (s *server) geometry(what ei.Term) ei.Term {
	size := map[ei.Term]int{ei.Atom("columns"): s.columns, ei.Atom("rows"): s.rows}
	if a, ok := what.(ei.Atom); ok && size[a] > 0 {
		return ei.Int(size[a])
	}
	return ei.Tagged("error", ei.Atom("enotsup"))
}

// setOptions changes options: {binary, Boolean}, binary and list; {encoding, E} of the encodings
// that text may have anyway. If one is none of these, nothing changes.
func (s *server) setOptions(t ei.Term) ei.Term {
	options, ok := ei.Elements(t)
	if !ok {
		return ei.Tagged("error", ei.Atom("enotsup"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	binary := s.binary
	for _, o := range options {
		name, args := operation(o)
		var value ei.Atom
		if len(args) == 1 {
			value, _ = args[0].(ei.Atom)
		}
		switch {
		case name == "binary" && (len(args) == 0 || value == "true"):
			binary = true
		case name == "list" && len(args) == 0, name == "binary" && value == "false":
			binary = false
		case name == "encoding" && (value == "unicode" || value == "utf8"):
		default:
			return ei.Tagged("error", ei.Atom("enotsup"))
		}
	}
	s.binary = binary
	return ei.Atom("ok")
}

func boolean(b bool) ei.Term {
	if b {
		return ei.Atom("true")
	}
	return ei.Atom("false")
}

// putChars prints [Encoding, Chars], [Encoding, M, F, A], or either without Encoding: so older
// nodes send latin1, and whatever is none.
func (s *server) putChars(args []ei.Term) ei.Term {
	encoding := ei.Atom("latin1")
	if len(args) == 2 || len(args) == 4 {
		encoding, _ = args[0].(ei.Atom)
		args = args[1:]
	} else if len(args) == 1 {
		if _, err := decoded(args[0], encoding); err != nil {
			encoding = "unicode"
		}
	}
	if encoding != "latin1" && encoding != "unicode" {
		return ei.Tagged("error", ei.Atom("request"))
	}
	var text string
	switch len(args) {
	case 1:
		var err error
		if text, err = decoded(args[0], encoding); err != nil {
			return ei.Tagged("error", ei.Atom("put_chars"))
		}
	case 3:
		var ok bool
		if text, ok = applied(args[0], args[1], args[2]); !ok {
			function, _ := args[1].(ei.Atom)
			return ei.Tagged("error", function)
		}
	default:
		return ei.Tagged("error", ei.Atom("request"))
	}
	return s.print(text)
}

func (s *server) print(text string) ei.Term {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.WriteString(s.out, text); err != nil {
		return ei.Tagged("error", ei.Atom("terminated"))
	}
	return ei.Atom("ok")
}

// decoded is the text of Chars; of latin1 each byte is a character.
func decoded(t ei.Term, encoding ei.Atom) (string, error) {
	if encoding == "unicode" {
		return charsOf(t)
	}
	raw, err := ei.AppendTerm(nil, t)
	if err != nil {
		return "", err
	}
	c := ei.NewCursor(raw)
	b, err := c.AppendIodata(nil)
	return latin1(b), err
}

func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, x := range b {
		runes[i] = rune(x)
	}
	return string(runes)
}

// applied is the text that a function of io_lib makes; false for any other function.
func applied(module, function, list ei.Term) (string, bool) {
	args, ok := ei.Elements(list)
	if !ok || module != ei.Atom("io_lib") {
		return "", false
	}
	switch {
	case (function == ei.Atom("format") || function == ei.Atom("fwrite")) && len(args) == 2:
		text, err := format(args[0], args[1])
		return text, err == nil
	case function == ei.Atom("write") && len(args) == 1:
		return written(args[0], -1, false), true
	case function == ei.Atom("print") && len(args) == 1:
		return written(args[0], -1, true), true
	case function == ei.Atom("nl") && len(args) == 0:
		return "\n", true
	}
	return "", false
}
