package groupleader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// ErrNone: the function has no group leader. It runs in a Server, its caller has named none, one by
// a name (user) that no process of this node has (see Serve), or one that Config.Rules do not let
// it send to. Or the context is no function's.
var ErrNone = errors.New("there is no group leader")

// ErrTerminated: the device has ended, or the connection to its node, before it answered.
var ErrTerminated = errors.New("the I/O device has ended")

// An Error is what a device has answered in place of what was asked for.
type Error struct {
	// Reason is that of {error, Reason}; of an answer that the protocol does not have, the answer.
	Reason ei.Term
}

// Error gives the reason.
func (e *Error) Error() string { return "I/O device: " + ei.Brief(e.Reason, 200) }

// Is tells whether the error is ErrTerminated, or errors.ErrUnsupported (reasons enotsup and
// request).
func (e *Error) Is(target error) bool {
	switch e.Reason {
	case ei.Atom("terminated"):
		return target == ErrTerminated
	case ei.Atom("enotsup"), ei.Atom("request"):
		return target == errors.ErrUnsupported
	}
	return false
}

// A Device is a process that prints and reads for others: a group leader, or a file that Erlang has
// opened. Its methods are safe for concurrent use.
//
// Each of them makes a request and waits for the answer, until the context ends that the Device was
// made with. Other errors are ErrNone, ErrTerminated, an *Error, and those of Mailbox.Send: a
// device on a node that is not connected is connected to, unless it is a group leader (Of) and the
// node has Config.Rules. Whoever prints a lot puts a bufio.Writer in front.
type Device struct {
	ctx  context.Context
	node *nodes.Node
	to   ei.Term // an ei.Pid, or the name of a process of this node; nil: none

	mu   sync.Mutex
	rest []byte // of what was written: the beginning of a character
}

// Of is the group leader of the function that runs with ctx: nodes.GroupLeaderOf. It needs a
// function's ctx, which has the node, too; elsewhere it is ErrNone, also with
// nodes.WithGroupLeader: use NewDevice.
func Of(ctx context.Context) *Device {
	d := &Device{ctx: ctx}
	if self := nodes.MailboxOf(ctx); self != nil {
		d.node, d.to = self.Node(), nodes.GroupLeaderOf(ctx)
		if len(d.node.Rules()) > 0 { // no peer's words make the node connect
			d.ctx = nodes.NoConnect(ctx)
		}
	}
	return d
}

// NewDevice is a device anywhere in the cluster, as a node reaches it.
func NewDevice(ctx context.Context, n *nodes.Node, pid ei.Pid) *Device {
	return &Device{ctx: ctx, node: n, to: pid}
}

// Write prints text in UTF-8; of what is not, each invalid stretch is printed as U+FFFD. A
// character that p ends in the middle of is printed with the next Write.
func (d *Device) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := p
	if len(d.rest) > 0 {
		text = append(d.rest, p...)
	}
	whole := text[:len(text)-beginning(text)]
	if len(whole) > 0 {
		reply, err := d.Request(ei.Tuple{ei.Atom("put_chars"), ei.Atom("unicode"), ei.Binary(bytes.ToValidUTF8(whole, []byte("\uFFFD")))})
		if err == nil && reply != ei.Atom("ok") {
			err = &Error{reply}
		}
		if err != nil {
			return 0, err
		}
	}
	d.rest = bytes.Clone(text[len(whole):])
	return len(p), nil
}

// beginning is how many bytes at the end are the beginning of a character.
func beginning(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// ReadLine reads a line, with its end; the last one may have none. The prompt is printed before. At
// the end of the input the error is io.EOF.
func (d *Device) ReadLine(prompt string) (string, error) {
	return d.text(ei.Tuple{ei.Atom("get_line"), ei.Atom("unicode"), otp.Charlist(prompt)})
}

// ReadChars reads n characters, fewer only at the end of the input. It is as ReadLine in all else.
func (d *Device) ReadChars(prompt string, n int) (string, error) {
	return d.text(ei.Tuple{ei.Atom("get_chars"), ei.Atom("unicode"), otp.Charlist(prompt), ei.Int(n)})
}

// Columns is how many columns a terminal has; errors.ErrUnsupported if the device is none.
func (d *Device) Columns() (int, error) { return d.geometry("columns") }

// Rows is how many rows a terminal has; errors.ErrUnsupported if the device is none.
func (d *Device) Rows() (int, error) { return d.geometry("rows") }

func (d *Device) geometry(what ei.Atom) (int, error) {
	reply, err := d.Request(ei.Tuple{ei.Atom("get_geometry"), what})
	if n, ok := reply.(ei.Int); ok && n > 0 {
		return int(n), nil
	}
	if err == nil || errors.As(err, new(*Error)) && !errors.Is(err, ErrTerminated) {
		err = &Error{ei.Atom("enotsup")} // whatever the answer is, as io:columns takes it
	}
	return 0, err
}

// Options are the device's options, as io:getopts/1 gives them: a list of {Name, Value}.
func (d *Device) Options() (ei.Term, error) { return d.Request(ei.Atom("getopts")) }

// SetOptions sets options, as io:setopts/2 does: {echo, false}, say.
func (d *Device) SetOptions(options ...ei.Term) error {
	reply, err := d.Request(ei.Tuple{ei.Atom("setopts"), ei.List(options)})
	if err == nil && reply != ei.Atom("ok") {
		return &Error{reply}
	}
	return err
}

// text makes a request for text.
func (d *Device) text(request ei.Term) (string, error) {
	reply, err := d.Request(request)
	switch {
	case err != nil:
		return "", err
	case reply == ei.Atom("eof"):
		return "", io.EOF
	}
	text, err := charsOf(reply)
	if err != nil {
		return "", &Error{reply}
	}
	return text, nil
}

// charsOf is text: a binary in UTF-8, or a list of characters and such binaries.
func charsOf(t ei.Term) (text string, err error) {
	err = ei.DecodeOptions{LenientText: true}.Unmarshal(t, &text)
	return text, err
}

// Request makes any request of the I/O protocol, {get_password, unicode} say, and returns the
// answer; {error, Reason} is an *Error.
func (d *Device) Request(request ei.Term) (ei.Term, error) {
	if d.to == nil {
		return nil, ErrNone
	}
	// a process of its own: the answer is not to come among the function's messages
	box, err := d.node.NewMailbox(nil)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	ref, err := d.ask(box, request)
	if err != nil {
		return nil, err
	}
	for {
		m, err := box.Receive(d.ctx)
		if err != nil {
			return nil, err
		}
		if m.Op == dist.OpMonitorPExit && m.Ref == ref {
			return nil, d.ended(m)
		}
		reply, ok, err := replyIn(m, ref)
		if ok {
			return reply, err
		}
	}
}

// ask sends a request; ref is that of the answer, and of the monitor.
func (d *Device) ask(box *nodes.Mailbox, request ei.Term) (ref ei.Ref, err error) {
	message := func() ei.Term { return ei.Tuple{ei.Atom("io_request"), box.Pid(), ref, request} }
	switch to := d.to.(type) {
	case ei.Pid:
		if ref, err = box.Monitor(d.ctx, to); err == nil {
			err = box.Send(d.ctx, to, message())
		}
	case ei.Atom:
		if ref, err = box.MonitorName(d.ctx, d.node.Name(), string(to)); err == nil {
			err = box.SendName(d.ctx, d.node.Name(), string(to), message())
		}
	}
	return ref, err
}

// ended is the error for the end of the device.
func (d *Device) ended(down *nodes.Message) error {
	reason, err := down.Reason.Decode()
	if err != nil {
		return ErrTerminated
	}
	if _, isName := d.to.(ei.Atom); isName && reason == ei.Atom("noproc") {
		return fmt.Errorf("%w: no process here is named %v", ErrNone, d.to)
	}
	return fmt.Errorf("%w: %w", ErrTerminated, &nodes.ExitError{Pid: down.From, Reason: reason})
}

// replyIn reads {io_reply, Ref, Reply}; false if the message is none.
func replyIn(m *nodes.Message, ref ei.Ref) (reply ei.Term, ok bool, err error) {
	defer m.Release()
	c := ei.NewCursor(m.Payload)
	if size, err := c.Tuple(); err != nil || size != 3 || !c.AtomIs("io_reply") {
		return nil, false, nil
	}
	if to, err := c.Ref(); err != nil || to != ref {
		return nil, false, nil
	}
	if reply, err = c.Term(); err != nil {
		return nil, true, err
	}
	if t, ok := reply.(ei.Tuple); ok && len(t) == 2 && t[0] == ei.Atom("error") {
		return nil, true, &Error{t[1]}
	}
	return reply, true, nil
}
