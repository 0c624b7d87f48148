package debugz_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/debugz"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/nodestest"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/nodes/supervisor"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// A shown node has something of everything that a page shows.
type shown struct {
	net  *nodestest.Net
	a, b *nodes.Node
	page *debugz.Page
}

// unread is how many messages nobody has read: more than wait anywhere else, for a moment.
const unread = 100

func show(t *testing.T, o debugz.Options) *shown {
	s := &shown{net: nodestest.New(t)}
	var scope *pg.Scope
	s.a = s.net.Node("shop", func(cfg *nodes.Config) {
		cfg.Visible = true
		cfg.Rules = []nodes.Rule{{Permission: nodes.MayCall, Target: "secret:*"}}
		cfg.Setup = func(n *nodes.Node) (err error) {
			if scope, err = pg.Start(t.Context(), n, "pg", &pg.Options{Limit: 1000}); err != nil {
				return err
			}
			if o.Names, err = global.Start(t.Context(), n, nil); err != nil {
				return err
			}
			o.Groups = append(o.Groups, scope)
			s.page = debugz.New(n, &o)
			n.Expose("shop", "quote", func(context.Context, []ei.Term) (any, error) { return ei.Atom("ok"), nil })
			n.Expose("shop", "order", func(context.Context, []ei.Term) (any, error) { return nil, errors.New("sold out") })
			return nil
		}
	})
	s.b = s.net.Node("desk", func(cfg *nodes.Config) { cfg.Visible = true })
	s.net.Connect(s.a, s.b)
	ctx := t.Context()
	box := cluster.Mailbox(t, s.a, nil)
	require.NoError(t, s.a.Register(ctx, "till <1>", box))
	require.NoError(t, scope.Join(ctx, ei.Atom("tills"), box))
	require.NoError(t, o.Names.Register(ctx, ei.Atom("main_till"), box, global.Method{}))
	_, err := supervisor.Start(ctx, s.a, "top", nil, supervisor.Child{
		ID: "worker", Start: func(ctx context.Context, sup *supervisor.Supervisor) (ei.Pid, error) {
			b, err := s.a.NewMailbox(&nodes.MailboxOptions{Parent: sup.Pid()})
			if err != nil {
				return ei.Pid{}, err
			}
			return b.Pid(), s.a.Register(ctx, "worker", b)
		},
	})
	require.NoError(t, err)
	for range 3 {
		_, err = s.b.RPC(ctx, s.a.Name(), "shop", "quote")
		require.NoError(t, err)
	}
	_, err = s.b.RPC(ctx, s.a.Name(), "shop", "order")
	require.Error(t, err)
	_, err = s.b.RPC(ctx, s.a.Name(), "secret", "read")
	require.Error(t, err)
	for range unread {
		require.NoError(t, box.Send(ctx, box.Pid(), ei.Atom("unread")))
	}
	return s
}

func get(t *testing.T, h http.Handler, target string, edit func(r *http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.RemoteAddr, r.Host = "127.0.0.1:5000", "localhost:8080"
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func view(t *testing.T, h http.Handler) (v debugz.View) {
	w := get(t, h, "/?view=json", nil)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &v))
	return v
}

func TestView(t *testing.T) {
	s := show(t, debugz.Options{})
	v := view(t, s.page)
	require.Equal(t, "shop@test", v.Node)
	require.Equal(t, "running", v.State)
	require.Len(t, v.Peers, 1)
	peer := v.Peers[0]
	require.Equal(t, "desk@test", peer.Name)
	require.True(t, peer.Here)
	require.False(t, peer.Hidden)
	require.WithinDuration(t, time.Now(), peer.Since, time.Minute)
	require.NotZero(t, peer.MessagesIn)
	require.Equal(t, []debugz.Group{{Name: "tills", Here: 1, All: 1}}, v.Groups)
	require.Len(t, v.Names, 1)
	require.Equal(t, "main_till", v.Names[0].Name)
	require.Equal(t, "till <1>", v.Processes[0].Name, "the longest queue first")
	require.Equal(t, unread, v.Processes[0].Queue)
	require.Len(t, v.Trees, 1)
	require.Equal(t, "top", v.Trees[0].Name)
	require.Equal(t, "worker", v.Trees[0].Children[0].Name)
	calls := map[string][2]int64{}
	for _, c := range v.Calls {
		calls[c.Name] = [2]int64{c.Count, c.Errors}
		require.NotZero(t, c.P99)
	}
	require.Equal(t, [2]int64{3, 0}, calls["shop:quote"])
	require.Equal(t, [2]int64{1, 1}, calls["shop:order"])
	require.Equal(t, "refused: call", v.Events[0].What)
	require.Equal(t, "desk@test", v.Events[0].Who)

	s.net.Disconnect(s.a, s.b)
	require.Eventually(t, func() bool { v = view(t, s.page); return len(v.Peers) == 0 }, expect.Limit, time.Millisecond)
	require.Contains(t, v.Events[0].What, "connection lost")
	s.page.Close()
	require.Len(t, view(t, s.page).Groups, 1)
}

// A node with more groups than there is room for is named.
func TestIncomplete(t *testing.T) {
	s := show(t, debugz.Options{})
	require.Empty(t, view(t, s.page).Incomplete)
	scope, err := pg.Start(t.Context(), s.b, "pg", nil)
	require.NoError(t, err)
	box := cluster.Mailbox(t, s.b, nil)
	for i := range 10 {
		require.NoError(t, scope.Join(t.Context(), i, box))
	}
	require.Eventually(t, func() bool { return len(view(t, s.page).Incomplete) == 1 }, expect.Limit, time.Millisecond)
	require.Contains(t, view(t, s.page).Incomplete[0], "desk@test: pg: more than Options.Limit allows")
	require.Contains(t, get(t, s.page, "/", nil).Body.String(), "desk@test: pg: more than Options.Limit allows")
}

// Rates are those since an earlier look.
func TestRates(t *testing.T) {
	s := show(t, debugz.Options{})
	require.Zero(t, view(t, s.page).Rates)
	begun := time.Now()
	for time.Since(begun) < time.Second {
		_, err := s.b.RPC(t.Context(), s.a.Name(), "shop", "quote")
		require.NoError(t, err)
	}
	v := view(t, s.page)
	require.Greater(t, v.Rates.Calls, 1.0)
	require.Greater(t, v.Rates.MessagesIn, 1.0)
	require.Greater(t, v.Peers[0].Rates.BytesOut, 1.0)
}

// The page says nothing in a language of markup that a peer has made up, loads nothing, and is
// whole without scripts.
func TestPage(t *testing.T) {
	s := show(t, debugz.Options{})
	_, err := s.b.RPC(t.Context(), s.a.Name(), "secret", "<script>alert(1)</script>")
	require.Error(t, err)
	w := get(t, s.page, "/debug/node/?sort=handled", nil)
	require.Equal(t, http.StatusOK, w.Code)
	body := w.Body.String()
	for _, word := range []string{"shop@test", "desk@test", "tills", "main_till", "till &lt;1&gt;", "shop:quote", "refused: call", "worker",
		"</html>"} {
		require.Contains(t, body, word)
	}
	require.NotContains(t, body, "<script>alert")
	require.NotContains(t, body, "://")
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
}

func TestOnlyLocal(t *testing.T) {
	s := show(t, debugz.Options{})
	for name, tt := range map[string]struct {
		edit func(r *http.Request)
		code int
	}{
		"loopback":       {nil, http.StatusOK},
		"IPv6":           {func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:5", "[::1]:80" }, http.StatusOK},
		"elsewhere":      {func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5000" }, http.StatusForbidden},
		"a proxy":        {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") }, http.StatusForbidden},
		"a rebound name": {func(r *http.Request) { r.Host = "evil.example:8080" }, http.StatusForbidden},
		"a change":       {func(r *http.Request) { r.Method = http.MethodPost }, http.StatusMethodNotAllowed},
	} {
		require.Equal(t, tt.code, get(t, s.page, "/", tt.edit).Code, name)
	}
	open := debugz.New(s.a, &debugz.Options{Remote: true})
	defer open.Close()
	require.Equal(t, http.StatusOK, get(t, open, "/", func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5000" }).Code)
}

func TestOverSocket(t *testing.T) {
	s := show(t, debugz.Options{})
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	server := &http.Server{Handler: s.page}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn,
		error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	r, err := client.Get("http://shop/")
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, r.StatusCode, string(body))
}

// Pages of other sites get nothing by way of a browser, whoever the page is for; links lead to it.
func TestOtherSites(t *testing.T) {
	s := show(t, debugz.Options{})
	open := debugz.New(s.a, &debugz.Options{Remote: true})
	defer open.Close()
	with := func(headers ...string) func(r *http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
		}
	}
	link := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	for name, tt := range map[string]struct {
		edit func(r *http.Request)
		code int
	}{
		"itself":             {with("Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"), http.StatusOK},
		"the user":           {with("Sec-Fetch-Site", "none"), http.StatusOK},
		"a link":             {with(link...), http.StatusOK},
		"another site":       {with("Sec-Fetch-Site", "cross-site"), http.StatusForbidden},
		"a script":           {with("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "script"), http.StatusForbidden},
		"a frame":            {with(append(link[:4:4], "Sec-Fetch-Dest", "iframe")...), http.StatusForbidden},
		"another port":       {with("Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"), http.StatusForbidden},
		"an old browser":     {with("Origin", "http://evil.example"), http.StatusForbidden},
		"an old one, itself": {with("Origin", "http://localhost:8080"), http.StatusOK},
		"a form": {func(r *http.Request) {
			r.Method = http.MethodPost
			with(link...)(r)
		}, http.StatusForbidden},
	} {
		for target, page := range map[string]http.Handler{"/": s.page, "/?view=json": open} {
			w := get(t, page, target, tt.edit)
			require.Equal(t, tt.code, w.Code, "%s, %s", name, target)
			if tt.code != http.StatusOK {
				require.NotContains(t, w.Body.String(), "shop@test")
			}
		}
	}
}

// However long names are that peers have given, the page is short, and says what it has cut.
func TestLongNames(t *testing.T) {
	size := need.Fewer(256<<10, 2<<20)
	var scope *pg.Scope
	var o debugz.Options
	net := nodestest.New(t)
	var page *debugz.Page
	a := net.Node("shop", func(cfg *nodes.Config) {
		cfg.Visible = true
		cfg.Rules = []nodes.Rule{{Permission: nodes.MayCall, Target: "secret:*"}}
		cfg.Setup = func(n *nodes.Node) (err error) {
			if o.Names, err = global.Start(t.Context(), n, nil); err == nil {
				scope, err = pg.Start(t.Context(), n, "pg", nil)
			}
			o.Groups = []*pg.Scope{scope}
			page = debugz.New(n, &o)
			return err
		}
	})
	peer := net.Node(strings.Repeat("n", 240), func(cfg *nodes.Config) { cfg.Visible = true })
	net.Connect(a, peer)
	ctx := t.Context()
	many := func(i int, text string) string { return fmt.Sprint(i) + strings.Repeat(text, size/len(text)) }
	var names []ei.Term
	for i := range 4 {
		names = append(names,
			ei.Binary(many(i, "b")),
			append(ei.Binary{byte(i)}, bytes.Repeat([]byte{0xff}, size)...),
			ei.Binary(many(i, "é")),
			ei.Tuple{ei.Int(i), ei.Binary(many(i, "b"))},
			ei.Atom(fmt.Sprintf("%2d", i)+strings.Repeat("€", 253)),
		)
	}
	for _, name := range names {
		box := cluster.Mailbox(t, a, nil)
		require.NoError(t, box.SetLabel(name))
		require.NoError(t, scope.Join(ctx, name, box))
		if _, ok := name.(ei.Atom); ok { // the others are too long to be global
			require.NoError(t, o.Names.Register(ctx, name, box, global.Method{}))
		}
		_, err := peer.RPC(ctx, a.Name(), "secret", strings.Repeat("f", 255))
		require.Error(t, err)
	}
	for _, target := range []string{"/", "/?view=json"} {
		body := get(t, page, target, nil).Body.Bytes()
		require.Less(t, len(body), 400_000)
		require.True(t, utf8.Valid(body))
		require.Contains(t, string(body), fmt.Sprintf("… (%d bytes)", size+1))
		require.Contains(t, string(body), fmt.Sprint("a term… (", size/1000))
		t.Logf("%s: %d bytes", target, len(body))
	}
	for _, g := range view(t, page).Groups {
		require.Less(t, len(g.Name), 400)
		require.NotContains(t, g.Name, "\ufffd", "nothing is cut within a character")
	}
}
