package top

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/nodes/nodestest"
	"github.com/cnode-go/cnode/nodes/observer"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// ours is a probe of a Go node with observer.
func ours(t *testing.T) *probe {
	a, b := nodestest.Pair(t)
	require.NoError(t, observer.Serve(b, nil))
	busy, err := b.Serve("busy", nodes.Server{}, &nodes.MailboxOptions{})
	require.NoError(t, err)
	require.NoError(t, busy.SetLabel("label"))
	return &probe{n: a, node: b.Name()}
}

func has(s *sample, name string) bool {
	for _, p := range s.Top {
		if p.Name == name {
			return true
		}
	}
	return false
}

// A node whose rules refuse has an observer, perhaps: the two are told apart.
func TestRefused(t *testing.T) {
	a, b := nodestest.Pair(t)
	p := &probe{n: a, node: b.Name()}
	_, err := p.take(t.Context())
	require.ErrorIs(t, err, ErrNothing)
	b.Expose("erlang", "system_info", nodes.FuncOf(func(ei.Atom) error { return &nodes.Raise{Reason: ei.Atom("eacces")} }))
	_, err = p.take(t.Context())
	require.ErrorIs(t, err, ErrRefused)
	require.NotErrorIs(t, err, ErrNothing)
}

func TestOurNode(t *testing.T) {
	p := ours(t)
	for range 2 {
		s, err := p.take(t.Context())
		require.NoError(t, err)
		require.True(t, has(s, "busy"), "%+v", s.Top)
		require.Equal(t, []ei.Atom{"a@test"}, s.Nodes)
		require.Positive(t, s.Memory["total"])
		require.Positive(t, s.Processes)
		require.True(t, p.single, "it has no lists:zipwith")
	}
}

// A real node, asked in one call, with processes by name, and most of something first.
func TestErlangNode(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port, Cookie: nodestest.Cookie})
		n, err := nodes.New(nodes.Config{Name: "top@127.0.0.1", Cookie: nodestest.Cookie,
			Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: "127.0.0.1:" + itoa(port)}}})
		require.NoError(t, err)
		t.Cleanup(func() { n.Close() })
		require.Equal(t, "ok", erl.Eval(t, `P = spawn(fun() -> receive stop -> ok end end), register(queue, P),
			[P ! I || I <- lists:seq(1, 1000)], ok`))
		erl.Becomes(t, "process_info(whereis(queue), status)", "{status,waiting}")
		p := &probe{n: n, node: erl.Name()}
		s, err := p.take(expect.Context(t))
		require.NoError(t, err)
		require.False(t, p.single)
		require.Contains(t, s.System, "Erlang")
		require.Equal(t, []ei.Atom{"top@127.0.0.1"}, s.Nodes)
		require.Positive(t, s.Memory["ets"])
		require.Positive(t, s.UptimeMS)
		require.InDelta(t, s.Processes, len(s.Top), 10)
		require.True(t, has(s, "code_server"))
		s.sort("queue", 3)
		require.Len(t, s.Top, 3)
		require.Equal(t, "queue", s.Top[0].Name)
		require.EqualValues(t, 1000, s.Top[0].Queue)
		require.Equal(t, "waiting", s.Top[0].Status)

		next, err := p.take(expect.Context(t))
		require.NoError(t, err)
		text := next.text(s, "memory", -1, 200)
		require.Contains(t, text, "/s")
		require.Contains(t, text, "memory*")
	})
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func TestPrint(t *testing.T) {
	p := ours(t)
	var out bytes.Buffer
	require.NoError(t, (&view{by: "memory", lines: 5, asJSON: true}).print(t.Context(), p, &out))
	var s sample
	require.NoError(t, json.Unmarshal(out.Bytes(), &s))
	require.Equal(t, "b@test", s.Node)
	require.NotEmpty(t, s.Top)

	out.Reset()
	require.NoError(t, (&view{by: "queue", lines: 2}).print(t.Context(), p, &out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 8, out.String())
	require.True(t, strings.HasPrefix(lines[0], "b@test  up "), lines[0])
	require.Contains(t, lines[5], "queue*")
	require.Regexp(t, `^<0\.\d+\.\d+> `, lines[6])
	require.Error(t, (&view{}).print(t.Context(), &probe{n: p.n, node: "none@test"}, io.Discard))
}

// A screen is what a terminal gets.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Keys sort, and end it; so does the context.
func TestLive(t *testing.T) {
	all := ours(t)
	for _, key := range []string{"\x03", "\x1b", ""} {
		p := &probe{n: all.n, node: all.node} // the last question of the program before may be on its way
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		in, keys := io.Pipe()
		out := &screen{}
		over := make(chan error, 1)
		go func() {
			over <- (&view{every: 10 * time.Millisecond, by: "memory"}).live(ctx, p, in, out, tea.WithWindowSize(100, 30))
		}()
		shows := func(text string) {
			t.Helper()
			require.Eventually(t, func() bool { return strings.Contains(out.String(), text) }, expect.Limit, time.Millisecond, text)
		}
		shows("b@test")
		shows("memory*")
		_, err := io.WriteString(keys, "q")
		require.NoError(t, err)
		shows("queue*")
		if key != "" {
			_, err = io.WriteString(keys, key)
			require.NoError(t, err)
			require.NoError(t, expect.Returns(t, over))
		} else {
			cancel()
			require.ErrorIs(t, expect.Returns(t, over), context.Canceled)
		}
		keys.Close()
	}
}

// What goes wrong is on the screen, under what was there.
func TestModel(t *testing.T) {
	m := &model{ctx: t.Context(), p: ours(t), v: &view{every: time.Second, by: "memory"}, width: 60, height: 10}
	require.Contains(t, m.View().Content, "asking b@test")
	m.Update(m.Init()())
	first := m.answers
	_, byHand := m.Update(tea.KeyPressMsg{Code: tea.KeySpace, Text: " "})
	m.Update(byHand())
	_, cmd := m.Update(first)
	require.Nil(t, cmd, "its turn has come with the space")
	_, cmd = m.Update(m.answers)
	require.NotNil(t, cmd)
	m.asks = false
	require.Nil(t, m.err)
	m.Update(tea.WindowSizeMsg{Width: 40, Height: 8})
	require.Nil(t, func() tea.Cmd { m.asks = true; _, c := m.Update(m.answers); return c }(), "it is being asked")
	m.Update(taken{err: io.ErrUnexpectedEOF})
	lines := strings.Split(m.View().Content, "\n")
	require.Len(t, lines, 8)
	require.Contains(t, lines[7], "no answer: unexpected EOF")
	for _, line := range lines {
		require.LessOrEqual(t, len(line), 40)
	}
}

func TestText(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1.0k", 1234567: "1.2M", 5e12: "5.0T", -1500: "-1.5k"} {
		require.Equal(t, want, amount(n))
	}
	require.Equal(t, "a?b", clip("a\x1bbc", 3))
	require.Equal(t, "<0.7.2>", short(ei.Pid{Node: "x@127.0.0.1", ID: 7, Serial: 2, Creation: 9}.String()))
}
