package groupleader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

const (
	// maxAsked is how many requests wait for what is read; further ones are refused.
	maxAsked = 100
	// maxRead is how many bytes a line may have, and characters that are asked for at once.
	maxRead = 1 << 20
	// parseTime is how long the node of whoever reads may take to take text apart.
	parseTime = 30 * time.Second
	readSize  = 4 << 10
)

// An input is what a device reads for others. One goroutine reads, as long as a request waits.
type input struct {
	s    *server
	in   io.Reader
	left []byte // what has been read of it, and is not used: the goroutine's

	mu    sync.Mutex
	asked []ask
	runs  bool // there is a goroutine
}

// An ask is a request that waits.
type ask struct {
	client  client
	request ei.Term
}

func newInput(s *server, in io.Reader) *input { return &input{s: s, in: in} }

// add lets a request wait for its turn; false: there are too many.
func (i *input) add(a client, request ei.Term) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.asked) >= maxAsked {
		return false
	}
	i.asked = append(i.asked, ask{a, request})
	if !i.runs {
		i.runs = true
		go i.run()
	}
	return true
}

func (i *input) run() {
	for {
		i.mu.Lock()
		if len(i.asked) == 0 {
			i.runs, i.asked = false, nil
			i.mu.Unlock()
			return
		}
		next := i.asked[0]
		i.asked = i.asked[1:]
		i.mu.Unlock()
		if next.client.self.Err() != nil { // the device has ended
			continue
		}
		i.s.answer(next.client, i.s.reply(next.client, next.request, 0))
	}
}

// read reads by get_line, get_chars or get_until, whose arguments may begin with an encoding.
func (i *input) read(a client, op ei.Atom, args []ei.Term) ei.Term {
	count := map[ei.Atom]int{"get_line": 1, "get_chars": 2, "get_until": 4}[op]
	if len(args) == count+1 {
		if args[0] != ei.Atom("unicode") && args[0] != ei.Atom("latin1") {
			return ei.Tagged("error", ei.Atom("request"))
		}
		args = args[1:]
	}
	if len(args) != count {
		return ei.Tagged("error", ei.Atom("request"))
	}
	n, isNumber := args[count-1].(ei.Int)
	if op == "get_chars" && (!isNumber || n < 0 || n > maxRead) {
		return ei.Tagged("error", ei.Atom("request"))
	}
	if prompt := i.s.print(promptOf(args[0])); isFailed(prompt) {
		return prompt
	}
	switch op {
	case "get_line":
		return i.result(i.line())
	case "get_chars":
		return i.result(i.chars(int(n)))
	}
	return i.until(a, args[1], args[2], args[3])
}

// promptOf is the text of a prompt: an atom, or text; {format, Format, Args}.
func promptOf(t ei.Term) string {
	if op, args := operation(t); op == "format" && len(args) == 2 {
		text, _ := format(args[0], args[1])
		return text
	}
	if a, ok := t.(ei.Atom); ok {
		return string(a)
	}
	if text, err := charsOf(t); err == nil {
		return text
	}
	return written(t, -1, true)
}

// line reads a line with its end.
func (i *input) line() (string, error) {
	for {
		if at := bytes.IndexByte(i.left, '\n'); at >= 0 {
			return i.take(at + 1), nil
		}
		if len(i.left) >= maxRead {
			return i.take(maxRead), nil
		}
		if err := i.more(); err != nil {
			if errors.Is(err, io.EOF) && len(i.left) > 0 {
				err = nil
			}
			return i.take(len(i.left)), err
		}
	}
}

// more reads some bytes.
func (i *input) more() error {
	i.left = slices.Grow(i.left, readSize)
	n, err := i.in.Read(i.left[len(i.left) : len(i.left)+readSize])
	if i.left = i.left[:len(i.left)+n]; n > 0 {
		return nil
	}
	return err
}

// take uses the first n bytes.
func (i *input) take(n int) string {
	text := string(i.left[:n])
	i.left = bytes.Clone(i.left[n:])
	return text
}

// chars reads n characters, or up to the end.
func (i *input) chars(n int) (string, error) {
	end := 0
	for range n {
		for !utf8.FullRune(i.left[end:]) {
			err := i.more()
			if errors.Is(err, io.EOF) && len(i.left) > 0 {
				return i.take(len(i.left)), nil
			}
			if err != nil {
				return "", err
			}
		}
		_, size := utf8.DecodeRune(i.left[end:])
		end += size
	}
	return i.take(end), nil
}

// result is the answer to who has read text.
func (i *input) result(text string, err error) ei.Term {
	switch {
	case errors.Is(err, io.EOF):
		return ei.Atom("eof")
	case err != nil:
		return ei.Tagged("error", ei.Atom("terminated"))
	}
	i.s.mu.Lock()
	defer i.s.mu.Unlock()
	if text = strings.ToValidUTF8(text, "\uFFFD"); i.s.binary {
		return ei.Binary(text)
	}
	return otp.Charlist(text)
}

// until reads until a function says that it has all it needs. It is a function of Erlang, module,
// function and more arguments, which the node of whoever reads runs.
func (i *input) until(a client, module, function, more ei.Term) ei.Term {
	m, ok1 := module.(ei.Atom)
	f, ok2 := function.(ei.Atom)
	rest, ok3 := ei.Elements(more)
	if !ok1 || !ok2 || !ok3 || string(a.pid.Node) == i.s.n.Name() {
		return ei.Tagged("error", ei.Atom("request"))
	}
	var state ei.Term = ei.List{}
	read := 0 // characters
	for {
		line, err := i.line()
		read += utf8.RuneCountInString(line)
		var text ei.Term = otp.Charlist(line)
		if errors.Is(err, io.EOF) {
			text = ei.Atom("eof")
		} else if err != nil {
			return ei.Tagged("error", ei.Atom("terminated"))
		}
		v, err := i.apply(a, m, f, append([]ei.Term{state, text}, rest...))
		t, ok := v.(ei.Tuple)
		switch {
		case err != nil || !ok || len(t) < 2:
			return ei.Tagged("error", f)
		case t[0] == ei.Atom("done") && len(t) == 3:
			if left, err := charsOf(t[2]); err == nil {
				if utf8.RuneCountInString(left) > read { // else it would grow with each request
					return ei.Tagged("error", f)
				}
				i.left = append([]byte(left), i.left...)
			}
			return t[1]
		case t[0] == ei.Atom("more") && len(t) == 2 && text != ei.Atom("eof"):
			state = t[1]
		default:
			return ei.Tagged("error", f)
		}
	}
}

// apply calls a function of the node that reads.
func (i *input) apply(a client, module, function ei.Atom, args []ei.Term) (ei.Term, error) {
	ctx, cancel := untilEnd(a.self)
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, parseTime)
	defer stop()
	list := make([]any, len(args))
	for i, arg := range args {
		list[i] = arg
	}
	return i.s.n.RPC(nodes.NoConnect(ctx), string(a.pid.Node), string(module), string(function), list...)
}
