package groupleader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// pair starts two nodes.
func pair(t *testing.T, rules ...nodes.Rule) (a, b *nodes.Node) {
	w := cluster.New(t)
	start := func(name string) *nodes.Node {
		cfg := w.Config(name)
		cfg.Rules = rules
		return w.Start(cfg)
	}
	return start("a@host"), start("b@host")
}

func serve(t *testing.T, n *nodes.Node, name string, w io.Writer, o *Options) *nodes.Mailbox {
	t.Helper()
	device, err := Serve(n, name, w, o)
	require.NoError(t, err)
	return device
}

type page struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// scripted is a device that answers each request with what answer makes of it.
func scripted(t *testing.T, n *nodes.Node, answer func(self *nodes.Mailbox, from ei.Pid, replyAs, request ei.Term)) ei.Pid {
	box, err := n.Handle("", func(self *nodes.Mailbox, m *nodes.Message) {
		term, err := m.Term()
		if request, ok := term.(ei.Tuple); err == nil && ok {
			answer(self, request[1].(ei.Pid), request[2], request[3])
		}
	}, nil)
	require.NoError(t, err)
	return box.Pid()
}

func reply(self *nodes.Mailbox, to ei.Pid, term ei.Term) { _ = self.Send(transport.NoWait(), to, term) }

func TestDevice(t *testing.T) {
	a, b := pair(t)
	out := &page{}
	in := "first é\nsecond\nlast"
	box := serve(t, a, "", out, &Options{In: strings.NewReader(in), Columns: 80, Rows: 25})
	d := NewDevice(expect.Context(t), b, box.Pid())

	for _, p := range []string{"text ", "\xc3", "", "\xa9 ", "\xe2\x82", "\xac", "\xff\xfe!"} {
		n, err := d.Write([]byte(p))
		require.NoError(t, err)
		require.Equal(t, len(p), n)
	}
	require.Equal(t, "text é €\uFFFD!", out.String())
	out.text.Reset()

	columns, err := d.Columns()
	require.NoError(t, err)
	rows, err := d.Rows()
	require.NoError(t, err)
	require.Equal(t, []int{80, 25}, []int{columns, rows})
	for _, binary := range []string{"true", "false"} {
		require.NoError(t, d.SetOptions(ei.Tuple{ei.Atom("binary"), ei.Atom(binary)}, ei.Tuple{ei.Atom("encoding"), ei.Atom("utf8")}))
		options, err := d.Options()
		require.NoError(t, err)
		require.Equal(t, "[{binary,"+binary+"},{encoding,unicode}]", options.String())
	}
	require.ErrorIs(t, d.SetOptions(ei.Atom("binary"), ei.Atom("echo")), errors.ErrUnsupported)

	line, err := d.ReadLine("? ")
	require.NoError(t, err)
	require.Equal(t, "first é\n", line)
	chars, err := d.ReadChars("", 3)
	require.NoError(t, err)
	require.Equal(t, "sec", chars)
	require.NoError(t, d.SetOptions(ei.Atom("binary")))
	line, err = d.ReadLine("")
	require.NoError(t, err)
	require.Equal(t, "ond\n", line)
	line, err = d.ReadLine("")
	require.NoError(t, err)
	require.Equal(t, "last", line)
	_, err = d.ReadLine("")
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "? ", out.String())

	for _, request := range []string{
		"nonsense", "{put_chars,latin2,[1]}", "{put_chars}", "{put_chars,a,b,c,d,e}", "{get_chars,unicode,'',-1}", "{get_chars,unicode,'',a}",
		"{get_line,klingon,''}", "{get_line}", "{get_geometry}", "{setopts}", "{requests,notalist}", "{get_until,unicode,'',a,b,c}",
		"5", "{}", "{getopts,1}",
		strings.Repeat("{requests,[", 30) + "getopts" + strings.Repeat("]}", 30), strings.Repeat("{requests,[", 30) + "{get_line,''}" +
			strings.Repeat("]}", 30),
	} {
		term, err := ei.Parse(request)
		require.NoError(t, err)
		_, err = d.Request(term)
		require.ErrorIs(t, err, errors.ErrUnsupported, request)
	}
	for _, request := range []string{"{put_chars,unicode,[a]}", "{put_chars,latin1,[300]}", "{put_chars,unicode,m,f,[]}",
		"{put_chars,unicode,io_lib,format,[1,2]}"} {
		term, err := ei.Parse(request)
		require.NoError(t, err)
		_, err = d.Request(term)
		require.ErrorAs(t, err, new(*Error), request)
	}
	answer, err := d.Request(ei.Tuple{ei.Atom("requests"), ei.List{ei.Tuple{ei.Atom("put_chars"), ei.Atom("latin1"), ei.Binary("\xe9")},
		ei.Atom("nonsense"), ei.Atom("getopts")}})
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.Nil(t, answer)
	require.Equal(t, "? é", out.String())

	box.Close()
	_, err = d.Write([]byte("late"))
	require.ErrorIs(t, err, ErrTerminated)
	require.ErrorAs(t, err, new(*nodes.ExitError))
}

func TestGroupLeaderOfAFunction(t *testing.T) {
	a, b := pair(t)
	b.Expose("m", "print", nodes.FuncOf(func(ctx context.Context) error {
		_, err := fmt.Fprint(Of(ctx), "hello")
		return err
	}))
	b.Expose("m", "server", nodes.FuncOf(func(ctx context.Context) (ei.Term, error) {
		return b.CallName(ctx, b.Name(), "s", ei.Atom("print"))
	}))
	_, err := b.Serve("s", nodes.Server{On: map[string]nodes.Func{"print": nodes.FuncOf(func(ctx context.Context) error {
		if _, err := fmt.Fprint(Of(ctx), "x"); !errors.Is(err, ErrNone) {
			return fmt.Errorf("not ErrNone: %w", err)
		}
		return nil
	})}}, nil)
	require.NoError(t, err)

	// user, which is nobody here
	_, err = a.RPC(expect.Context(t), b.Name(), "m", "print")
	require.ErrorContains(t, err, ErrNone.Error())
	reply, err := a.RPC(expect.Context(t), b.Name(), "m", "server")
	require.NoError(t, err)
	require.Equal(t, ei.Atom("ok"), reply)
	_, err = Of(t.Context()).ReadLine("")
	require.ErrorIs(t, err, ErrNone)

	user := &page{}
	_ = serve(t, b, "user", user, nil)
	_, err = a.RPC(expect.Context(t), b.Name(), "m", "print")
	require.NoError(t, err)
	require.Equal(t, "hello", user.String())
	d := NewDevice(nodes.WithGroupLeader(expect.Context(t), ei.Pid{}), a, b.Whereis("user").Pid())
	_, err = d.ReadLine("")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	_, err = d.Columns()
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

// A function of a node with rules prints: they are not asked for the answers.
func TestPrintsUnderRules(t *testing.T) {
	a, b := pair(t, nodes.Rule{Permission: nodes.MayCall, Allow: true}, nodes.Rule{Peer: "b@host", Allow: true}, nodes.Rule{})
	out := &page{}
	device := serve(t, a, "d", out, nil)
	b.Expose("m", "print", nodes.FuncOf(func(ctx context.Context) error {
		_, err := fmt.Fprint(Of(ctx), "hello")
		return err
	}))
	_, err := a.RPC(nodes.WithGroupLeader(expect.Context(t), device.Pid()), b.Name(), "m", "print")
	require.NoError(t, err)
	require.Equal(t, "hello", out.String())
	require.Zero(t, b.Stats().Denied)
}

// Devices that lie, never answer, or end.
func TestHostileDevices(t *testing.T) {
	a, b := pair(t)
	ok := ei.Atom("ok")
	for name, tt := range map[string]struct {
		answer func(self *nodes.Mailbox, from ei.Pid, replyAs, request ei.Term)
		want   func(err error) bool
	}{
		"wrong references, then right": {func(self *nodes.Mailbox, from ei.Pid, replyAs, _ ei.Term) {
			for _, junk := range []ei.Term{ok, ei.Tuple{}, ei.Tuple{ei.Atom("io_reply"), from, ok}, ei.Tuple{ei.Atom("io_reply"), replyAs},
				ei.Tuple{ei.Atom("io_reply"), replyAs, ok}} {
				reply(self, from, junk)
			}
		}, func(err error) bool { return err == nil }},
		"another answer": {func(self *nodes.Mailbox, from ei.Pid, replyAs, _ ei.Term) {
			reply(self, from, ei.Tuple{ei.Atom("io_reply"), replyAs, ei.Map{}})
		}, func(err error) bool { return errors.As(err, new(*Error)) }},
		"an error": {func(self *nodes.Mailbox, from ei.Pid, replyAs, _ ei.Term) {
			reply(self, from, ei.Tuple{ei.Atom("io_reply"), replyAs, ei.Tagged("error", ei.Atom("terminated"))})
		}, func(err error) bool { return errors.Is(err, ErrTerminated) }},
		"no answer": {func(*nodes.Mailbox, ei.Pid, ei.Term, ei.Term) {},
			func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		"the end": {func(self *nodes.Mailbox, _ ei.Pid, _, _ ei.Term) { self.Exit(ei.Atom("bad")) },
			func(err error) bool { return errors.Is(err, ErrTerminated) }},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if name != "no answer" {
			ctx = expect.Context(t)
		}
		_, err := NewDevice(ctx, b, scripted(t, a, tt.answer)).Write([]byte("x"))
		cancel()
		require.True(t, tt.want(err), "%s: %v", name, err)
	}
	_, err := NewDevice(expect.Context(t), b, ei.Pid{Node: "nobody@host", ID: 1, Creation: 1}).Write([]byte("x"))
	require.ErrorIs(t, err, nodes.ErrNoConnection)
	require.Eventually(t, func() bool { return b.Stats().Mailboxes == 2 }, expect.Limit, time.Millisecond)
}

// What comes to a device that is no request of its sender's is answered by nobody, and ends
// nothing.
func TestHostileAskers(t *testing.T) {
	a, b := pair(t)
	out := &page{}
	in, typed := io.Pipe()
	device := serve(t, a, "d", out, &Options{In: in})
	defer typed.Close()
	box := cluster.Mailbox(t, b, nil)
	third := ei.Pid{Node: "third@host", ID: 1, Creation: 1}
	print := ei.Tuple{ei.Atom("put_chars"), ei.Atom("unicode"), ei.Binary("x")}
	request := ei.Atom("io_request")
	for _, junk := range []ei.Term{
		ei.Int(1), ei.Tuple{}, ei.Tuple{request}, ei.Tuple{request, ei.Int(1), ei.Int(1), print}, ei.Tuple{request, third, ei.Int(1), print},
		ei.Tuple{ei.Atom("io_reply"), box.Pid(), ei.Int(1)}, ei.Fun{Module: "m"},
	} {
		require.NoError(t, box.Send(expect.Context(t), device.Pid(), junk))
	}
	require.NoError(t, box.Send(expect.Context(t), device.Pid(), ei.Raw{104, 4, 99}))
	// more readers than wait: the others are refused
	for i := range maxAsked + 10 {
		require.NoError(t, box.Send(expect.Context(t), device.Pid(),
			ei.Tuple{request, box.Pid(), ei.Int(i), ei.Tuple{ei.Atom("get_line"), ei.Atom("")}}))
	}
	answered := 0
	receive := func() string {
		m, err := box.Receive(expect.Context(t))
		require.NoError(t, err)
		answered++
		term, err := m.Term()
		require.NoError(t, err)
		return term.String()
	}
	for range 9 { // one is being read for
		require.Contains(t, receive(), "enotsup")
	}
	go fmt.Fprint(typed, strings.Repeat("l\n", maxAsked+10))
	for answered < maxAsked+10 {
		receive()
	}
	require.Empty(t, out.String())
	require.NoError(t, device.Err())
	_, err := NewDevice(expect.Context(t), b, device.Pid()).Write([]byte("still here"))
	require.NoError(t, err)
	require.Nil(t, a.Conn("third@host"))
}

// An error of the Writer is the asker's.
func TestWriterFails(t *testing.T) {
	a, _ := pair(t)
	in, out := io.Pipe()
	in.Close()
	device := serve(t, a, "", out, nil)
	_, err := NewDevice(expect.Context(t), a, device.Pid()).Write([]byte("x"))
	require.ErrorIs(t, err, ErrTerminated)
}

// What a parser gives back is at most what it was given.
func TestParserGivesBack(t *testing.T) {
	a, b := pair(t)
	device := serve(t, a, "", &page{}, &Options{In: strings.NewReader("one\ntwo\n")})
	back := ""
	b.Expose("m", "parse", func(context.Context, []ei.Term) (any, error) {
		return ei.Tuple{ei.Atom("done"), ei.Atom("parsed"), ei.Binary(back)}, nil
	})
	d := NewDevice(expect.Context(t), b, device.Pid())
	parse := ei.Tuple{ei.Atom("get_until"), ei.Atom("unicode"), ei.Atom(""), ei.Atom("m"), ei.Atom("parse"), ei.List{}}
	for _, back = range []string{"éé1\n", "é2"} {
		got, err := d.Request(parse)
		require.NoError(t, err)
		require.Equal(t, ei.Atom("parsed"), got)
	}
	back = "3456789"
	_, err := d.Request(parse) // of é2two
	require.ErrorAs(t, err, new(*Error))
	line, err := d.ReadLine("")
	require.ErrorIs(t, err, io.EOF)
	require.Empty(t, line)
}

// A function prints at a process that its caller could send to, and nowhere else; nor does the node
// connect to one.
func TestRulesOfLeaders(t *testing.T) {
	a, b := pair(t, nodes.Rule{Peer: "a@host", Allow: true}, nodes.Rule{Permission: nodes.MayCall, Target: "m:print/0", Allow: true},
		nodes.Rule{Permission: nodes.MaySend, Target: "screen", Allow: true}, nodes.Rule{})
	a.Expose("m", "print", nodes.FuncOf(func(ctx context.Context) error {
		_, err := fmt.Fprint(Of(ctx), "x")
		return err
	}))
	var pages [3]page
	var devices [3]*nodes.Mailbox
	for i, name := range []string{"screen", "log", ""} {
		var err error
		devices[i], err = Serve(a, name, &pages[i], nil)
		require.NoError(t, err)
	}
	box := cluster.Mailbox(t, b, nil)
	for _, tt := range []struct {
		leader ei.Term
		ok     bool
	}{
		{devices[0].Pid(), true}, {ei.Atom("screen"), true}, {devices[1].Pid(), false}, {ei.Atom("log"), false}, {devices[2].Pid(), false},
		{a.Whereis("rex").Pid(), false}, {ei.Pid{Node: "far@host", ID: 1, Creation: 1}, false},
	} {
		require.NoError(t, box.SendName(expect.Context(t), "a@host", "rex",
			ei.Tuple{box.Pid(), ei.Tuple{ei.Atom("call"), ei.Atom("m"), ei.Atom("print"), ei.List{}, tt.leader}}))
		reply := cluster.Receive(t, box)
		if tt.ok {
			require.Equal(t, ei.Tuple{ei.Atom("rex"), ei.Atom("ok")}, reply, tt.leader)
		} else {
			require.Contains(t, reply.String(), ErrNone.Error(), tt.leader)
		}
	}
	require.Equal(t, "xx", pages[0].String())
	require.Empty(t, pages[1].String())
	require.Empty(t, pages[2].String())
}

// The group leader of a caller that has gone is not connected to, where there are rules.
func TestRulesOfLeadersThatHaveGone(t *testing.T) {
	a, b := pair(t, nodes.Rule{Allow: true})
	out := &page{}
	device := serve(t, a, "", out, nil)
	printed := make(chan error, 1)
	goesOn := make(chan struct{})
	b.Expose("m", "print", nodes.FuncOf(func(ctx context.Context) {
		d := Of(context.WithoutCancel(ctx))
		<-goesOn
		_, err := d.Write([]byte("x"))
		printed <- err
	}))
	caller := cluster.Mailbox(t, a, nil)
	_, err := caller.Spawn(nodes.WithGroupLeader(expect.Context(t), device.Pid()), "b@host", "m", "print")
	require.NoError(t, err)
	c := b.Conn("a@host")
	c.Close()
	expect.Returns(t, c.Done())
	close(goesOn)
	require.ErrorIs(t, expect.Returns(t, printed), nodes.ErrNoConnection)
	require.Empty(t, out.String())
}
