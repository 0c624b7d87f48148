package console

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/pty"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/console"
	"github.com/cnode-go/cnode/nodes/observer"
)

// without runs f with nodes of Go on which a user of node ops has no console.
func without(t *testing.T, port int, f func(t *testing.T, n *nodes.Node)) {
	look := func(n *nodes.Node) error { return observer.Serve(n, nil) }
	all := func(n *nodes.Node) error {
		if err := look(n); err != nil {
			return err
		}
		return console.Serve(n, nil)
	}
	type kind struct {
		name  string
		setUp func(n *nodes.Node) error
		rules []nodes.Rule
	}
	for _, tt := range need.Sample(t, 2, []kind{
		{"plain", nil, nil},
		{"nothing", nil, []nodes.Rule{{}}},
		{"observer", look, nil},
		{"refused", all, []nodes.Rule{{}}},
		{"may look", all, append(observer.Rules("ops*"), nodes.Rule{})},
		{"call only", all, []nodes.Rule{{Permission: nodes.MayCall, Target: "code:*", Allow: true}, {}}},
	}) {
		t.Run(tt.name, func(t *testing.T) {
			n, err := nodes.New(nodes.Config{
				Name: "go@127.0.0.1", Cookie: otp.DefaultCookie, HandshakeTimeout: otp.HandshakeTime, Logger: otp.Log(t, "Go node"), Visible: true,
				Resolver: gonode.Mapper(port), Setup: tt.setUp, Rules: tt.rules,
			})
			require.NoError(t, err)
			defer n.Close()
			require.NoError(t, n.Start(expect.Context(t)))
			f(t, n)
		})
	}
}

// politely requires that the shell says in a few lines that there is none.
func politely(t *testing.T, term *pty.Terminal, want string) {
	t.Helper()
	text := term.Expect(t, want)
	require.LessOrEqual(t, strings.Count(strings.TrimSpace(text), "\n"), 3, text)
	for _, report := range []string{"REPORT", "terminating", "{exception", "rash"} {
		require.NotContains(t, text, report)
	}
}

// Where a user has no console, the shell says so; his node does not crash. A node that has been
// started as a shell of the other one ends in order, where that is how its release says so. OTP 29
// adds the report of a process of its own when such a shell was to be a job.
func TestNoConsole(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		without(t, port, func(t *testing.T, n *nodes.Node) {
			term := remsh(t, r, port, n.Name())
			if r.Number == 25 { // its node goes on
				politely(t, term, "*** ERROR: Shell process terminated! (^G to start new job) ***")
				for _, keys := range []string{"\x07", "s\r"} {
					term.Type(t, keys)
					term.Expect(t, "-->")
				}
				term.Type(t, "c\r")
				term.Expect(t, "1> ")
				term.Type(t, "{alive, 1 + 1}.\r")
				term.Expect(t, "{alive,2}")
				return
			}
			politely(t, term, "Could not load")
			ended(t, term)

			term = erl(t, r, port) // the other shell as a job
			term.Expect(t, "1> ")
			term.Type(t, "\x07")
			term.Expect(t, "-->")
			term.Type(t, "r '"+n.Name()+"'\r")
			term.Expect(t, "-->")
			term.Type(t, "c\r")
			text := term.Expect(t, "*** ERROR: Shell process terminated! (^G to start new job) ***")
			require.NotContains(t, text, "user_drv:init/1", "which is the user's own shell")
			term.Type(t, "\x07")
			term.Expect(t, "-->")
			term.Type(t, "c 1\r")
			term.Expect(t, "c 1")
			term.Type(t, "{alive, 1 + 1}.\r")
			term.Expect(t, "{alive,2}")
			term.Kill()
			ended(t, term)
		})
	})
}

func TestNoConsoleIEx(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		port := otp.Releases(t)[0].Epmd(t)
		without(t, port, func(t *testing.T, n *nodes.Node) {
			term := iex(t, e, port, n.Name())
			want := "Could not load"
			if e.Version < "1.15" {
				want = "Could not"
			}
			politely(t, term, want)
			ended(t, term)
		})
	})
}

// What a shell asks before it begins need not be allowed besides the shell itself.
func TestShellAlone(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		n := start(t, "go"+r.String()+"@127.0.0.1", port, console.Options{Commands: commands},
			nodes.Rule{Permission: nodes.MayCall, Target: "shell:start", Allow: true},
			nodes.Rule{Permission: nodes.MayCall, Target: "console:*", Allow: true},
			nodes.Rule{Permission: nodes.MaySend | nodes.MayLink | nodes.MayExit, Target: "console*", Allow: true}, nodes.Rule{})
		term := remsh(t, r, port, n.Name())
		term.Expect(t, n.Name()+"> ")
		term.Type(t, "quote \"A\" 2\r")
		term.Expect(t, "price => 4", n.Name()+"> ")
		term.Type(t, "quit\r")
		if r.Number > 25 {
			ended(t, term)
		}
	})
}

// dbg:n and ttb return at once, whatever the other node refuses, and dbg goes on.
func TestTracersReturn(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		ebin := t.TempDir() // the modules of the application observer, where there are any
		for entry := range strings.FieldsSeq(os.Getenv("CNODE_TEST_OBSERVER")) {
			if number, dir, _ := strings.Cut(entry, "="); number == strconv.Itoa(r.Number) {
				require.NoError(t, os.CopyFS(ebin, os.DirFS(filepath.Join(dir, "ebin"))))
			}
		}
		e := r.Start(t, otp.Options{EpmdPort: port, ExtraArgs: []string{"-pa", ebin}})
		without(t, port, func(t *testing.T, n *nodes.Node) {
			e.Anew(t)
			require.Equal(t, "true", e.Eval(t, "dbg:tracer(), {ok, N} = dbg:n('"+n.Name()+"'), {ok, L} = dbg:p(all, [c]), ok = dbg:stop(), "+
				"lists:any(fun(M) -> element(2, M) =:= node() end, L)"))
			if _, err := os.Stat(filepath.Join(ebin, "ttb.beam")); err == nil && n.Rules() != nil {
				require.Equal(t, "{{ok,[]},stopped}", e.Eval(t, "{ttb:tracer('"+n.Name()+"'), ttb:stop()}"))
			}
		})
	})
}
