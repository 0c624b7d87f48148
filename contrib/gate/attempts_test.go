package gate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// load loads modules of testdata/erl.
func load(t *testing.T, n *otp.Node, modules ...string) {
	t.Helper()
	for _, m := range modules {
		source, err := os.ReadFile("testdata/erl/" + m + ".erl")
		require.NoError(t, err)
		n.Load(t, string(source))
	}
}

// siege is a world in which the node inside runs all of testdata/erl that is for it, and the one
// outside has what attacks.
func siege(t *testing.T, out, in otp.Release, args ...string) *world {
	w := bareWorld(t, out, in, args...)
	load(t, w.inner, "note", "till", "shop", "inside", "tables", "attacker", "basics") // the last two for their funs
	load(t, w.outer, "attacker", "basics", "tables")
	w.inner.Do(t, "inside:start()")
	return w
}

// secrets are what an attacker has guessed of the node inside.
func (w *world) secrets(t *testing.T) string { return w.inner.Do(t, "inside:secrets()") }

// lines has an expression write lines to FILE, and gives the second word of each, and the whole.
func lines(t *testing.T, n *otp.Node, expr string) (results, whole []string) {
	t.Helper()
	file := filepath.Join(n.Home(), "lines")
	n.Do(t, strings.ReplaceAll(expr, "FILE", fmt.Sprintf("%q", file)))
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		require.GreaterOrEqual(t, len(words), 2, line)
		results, whole = append(results, words[1]), append(whole, strings.TrimSpace(line))
	}
	return results, whole
}

// okay requires that all lines say ok.
func okay(t *testing.T, results, whole []string) {
	t.Helper()
	for i, line := range whole {
		if results[i] != "ok" {
			t.Error(line)
		}
	}
}

// untouched requires that nothing has happened on the node inside that no rule allows.
func (w *world) untouched(t *testing.T, before string) {
	t.Helper()
	require.Equal(t, "[]", w.inner.Do(t, "note:all()"))
	require.Equal(t, before, w.inner.Do(t, "inside:state()"))
	require.NotContains(t, w.inner.Log(), "HIT")
}

// Nothing that a node outside tries and no rule allows has an effect inside, and whoever waits for
// an answer gets one.
func TestAttempts(t *testing.T) {
	t.Parallel()
	pairs(t, func(t *testing.T, out, in otp.Release) {
		w := siege(t, out, in)
		g := w.start(t, nil)
		defer func() { require.NoError(t, g.Close()) }()
		secrets, before := w.secrets(t), w.inner.Do(t, "inside:state()")
		results, whole := lines(t, w.outer, w.in("attacker:all(IN, ")+secrets+", FILE)")
		count := map[string]int{}
		for i, line := range whole {
			want := "refused"
			switch {
			case strings.HasPrefix(line, "ok_"):
				want = "ok"
			case strings.HasPrefix(line, "tell_"):
				want = "silent"
			}
			count[want]++
			if want == "silent" && strings.Contains(line, "[{io_reply,r,{error,request}}]") {
				continue // io:format waits for ever without
			}
			if results[i] != want {
				t.Errorf("%s, want %s", line, want)
			}
		}
		require.Greater(t, count["refused"]+count["silent"], 90)
		w.untouched(t, before)
		s := g.Sessions()
		require.Len(t, s, 1)
		require.GreaterOrEqual(t, s[0].Refused, int64(count["refused"]+count["silent"]))
	})
}

// Without a gate, the attempts have their effect: else nothing would be shown by TestAttempts.
func TestAttemptsWithoutGate(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		w := &world{outer: r.Start(t, otp.Options{EpmdPort: port}), inner: r.Start(t, otp.Options{EpmdPort: port})}
		load(t, w.inner, "note", "till", "shop", "inside", "attacker")
		load(t, w.outer, "attacker")
		w.inner.Do(t, "inside:start()")
		names := w.outer.Do(t, w.in("attacker:hit(IN, ")+w.secrets(t)+")")
		w.inner.Becomes(t, "note:lacks("+names+")", "[]")
	})
}

// A gate that allows everything changes nothing for programs.
func TestBasics(t *testing.T) {
	t.Parallel()
	pairs(t, func(t *testing.T, out, in otp.Release) {
		w := siege(t, out, in)
		w.cfg.Rules = []gate.Rule{{Allow: true}}
		w.cfg.Limits.Message, w.cfg.Limits.Funs = 64<<20, 100
		g := w.start(t, nil)
		defer func() { require.NoError(t, g.Close()) }()
		results, whole := lines(t, w.outer, w.in("basics:all(IN, 200000, FILE)"))
		okay(t, results, whole)
	})
}

// The node inside asks the one outside whatever it likes, and gets answers, though no rule allows
// the one outside anything.
func TestAskedFromInside(t *testing.T) {
	t.Parallel()
	pairs(t, func(t *testing.T, out, in otp.Release) {
		w := bareWorld(t, out, in)
		w.cfg.Rules = nil
		load(t, w.outer, "note", "till", "shop", "inside", "basics")
		w.outer.Do(t, "inside:start()")
		load(t, w.inner, "basics")
		g := w.start(t, nil)
		defer func() { require.NoError(t, g.Close()) }()
		results, whole := lines(t, w.inner, w.in("basics:back(OUT, FILE)"))
		okay(t, results, whole)
	})
}

// Two nodes that connect to each other at the same moment, again and again, are connected at last.
func TestSimultaneous(t *testing.T) {
	r := otp.Releases(t)
	w := siege(t, r[0], r[len(r)-1])
	g := w.start(t, nil)
	defer func() { require.NoError(t, g.Close()) }()
	there := w.inner.Async(t, w.in("basics:meet(OUT, 100)"))
	w.outer.Do(t, w.in("basics:meet(IN, 100)"))
	there()
	w.outer.Becomes(t, w.in("net_adm:ping(IN)"), "pong")
	w.inner.Becomes(t, w.in("net_adm:ping(OUT)"), "pong")
}

// A node whose peer says nothing but what is refused does not take it for dead.
func TestRefusedFlood(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 9 seconds: twice the time after which a silent peer is dead")
	}
	r := otp.Releases(t)
	last := r[len(r)-1]
	w := siege(t, last, last, "-kernel", "net_ticktime", "4")
	g := w.start(t, &gate.Options{})
	defer func() { require.NoError(t, g.Close()) }()
	require.Equal(t, "lasted", w.outer.Do(t, w.in("basics:flood(IN, 9000, 1)")))
	require.Equal(t, "[]", w.inner.Do(t, "note:all()"))
}
