package beam

import (
	"crypto/tls"
	_ "embed"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/transport/handoff"
)

//go:embed testdata/outgoing.erl
var outgoing string

// newDialHouse is a house whose front makes connections to addresses.
func newDialHouse(t *testing.T, r otp.Release, ebin string, addrs ...string) *house {
	t.Helper()
	_, roots := farCertificate(t)
	h := newFrontWith(t, &front.Options{Dial: &front.DialOptions{TLS: &tls.Config{RootCAs: roots},
		Pause: 20 * time.Millisecond, LongestPause: 100 * time.Millisecond,
		Allow: func(_ handoff.Cred, _, address string) error {
			if !slices.Contains(addrs, address) {
				return fmt.Errorf("%s is not allowed", address)
			}
			return nil
		}}})
	h.r, h.ebin = r, ebin
	return h
}

// dialler starts a BEAM that has connections to an address by names.
func (h *house) dialler(kind, addr string, names ...string) *otp.Node {
	h.t.Helper()
	return h.diallerWith(kind, addr, "#{}", names...)
}

func (h *house) diallerWith(kind, addr, options string, names ...string) *otp.Node {
	h.t.Helper()
	n := h.r.Start(h.t, otp.Options{Local: true, ExtraArgs: []string{"-pa", h.ebin}})
	n.Load(h.t, outgoing)
	quoted := `<<"` + strings.Join(names, `">>, <<"`) + `">>`
	if len(names) == 0 {
		quoted = ""
	}
	require.Equal(h.t, "ok", n.Do(h.t, fmt.Sprintf(`{ok, _} = application:ensure_all_started(cnode),
		register(server, outgoing:start("%s", %s, "%s", %s, [%s])), ok`, h.path, kind, addr, options, quoted)))
	return n
}

// A worker with connections is killed again and again: each goes on in the next worker that asks
// for its name, and none is made a second time.
func TestOutgoingKills(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		const many, kills = 20, 5
		config, _ := farCertificate(t)
		ebin := build(t, r, "src")
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		for _, f := range []*farSide{far(t, 2*time.Millisecond), farAt(t, tls.NewListener(l, config), 2*time.Millisecond)} {
			secret := f.Addr().String() == l.Addr().String()
			t.Run(fmt.Sprintf("TLS %v", secret), func(t *testing.T) {
				h := newDialHouse(t, r, ebin, f.Addr().String())
				var names []string
				for i := range many {
					names = append(names, fmt.Sprint("line", i))
				}
				start := func() *otp.Node {
					return h.diallerWith("socket", f.Addr().String(), fmt.Sprintf("#{tls => %v}", secret), names...)
				}
				w := start()
				for range kills {
					f.further(t, 10*many)
					w.Kill()
					w = start()
				}
				f.further(t, 10*many)
				f.only(t, many)
				s := h.k.Stats()
				t.Log(f.answers.Load(), "answers; front: ", s)
				require.EqualValues(t, many, s.Dialled)
				require.Zero(t, s.Reset)
			})
		}
	})
}

// What is not allowed, and names that another process has, are errors.
func TestOutgoingRefused(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		f := far(t, 0)
		addr := f.Addr().String()
		free, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		nobody := free.Addr().String()
		require.NoError(t, free.Close())
		h := newDialHouse(t, r, build(t, r, "src"), addr, nobody)
		w := h.dialler("gen_tcp", addr, "one")
		c := f.last(t, "one", 1)
		asks := func(w *otp.Node, name, addr, options string) string {
			return w.Do(t, fmt.Sprintf(`case cnode_sessions:connect(server, "%s", "%s", %s) of {error, {A, B}} when is_binary(B) -> {A, size(B) > 0};
				Other -> Other end`, name, addr, options))
		}
		require.Equal(t, "{not_allowed,true}", asks(w, "two", "127.0.0.1:1", "#{}"))
		require.Equal(t, "{taken,true}", asks(w, "one", addr, "#{}"))
		require.Equal(t, "{error,timeout}", asks(w, "one", addr, "#{wait => true, timeout => 10}"))
		// who asks again takes the place of who has asked before, and may be gone
		require.Equal(t, "{error,timeout}", asks(w, "one", addr, "#{timeout => 10}"))
		require.Equal(t, "[true,true]", w.Do(t, fmt.Sprintf(`Me = self(), Asks = fun(How) -> spawn(fun() -> Me ! {How,
				case cnode_sessions:connect(server, "one", "%s", #{timeout => 20000}) of {error, {taken, W}} -> W; Got -> Got end} end) end,
			Asks(first), Asks(second), [receive {_, Why} -> is_binary(Why) end || _ <- [1, 2]]`, addr)))
		require.Equal(t, "{unreachable,true}", asks(w, "two", nobody, "#{}"))
		require.Equal(t, "{error,badarg}", asks(w, "", addr, "#{}"))
		require.Equal(t, "{error,badarg}", asks(w, "two", addr, "#{waits => true}"))
		require.Equal(t, "{error,badarg}", asks(w, "two", addr, "#{timeout => soon}"))
		require.Equal(t, "{error,badarg}", asks(w, "two", strings.Repeat("x", 1024), "#{}"))
		// the name of an address in vain is paused: who asks while it is, is told
		require.Equal(t, `<<"two">>`, w.Do(t, fmt.Sprintf(`Until = fun(Again) ->
			{error, {unreachable, _}} = cnode_sessions:connect(server, "two", "%s", #{tell => self()}),
			receive {cnode_sessions, Name, {redial, Ms, Why}} when Ms < 200, size(Why) > 0 -> Name after 0 -> Again(Again) end end,
			Until(Until)`, nobody)))
		other := h.dialler("socket", addr)
		require.Equal(t, "{taken,true}", asks(other, "one", addr, "#{}"))
		// a worker that waits gets it when the other one is gone
		got := make(chan string, 1)
		go func() {
			got <- other.Do(t, fmt.Sprintf(`{ok, S} = cnode_sessions:connect(server, "one", "%s", #{wait => true}), {ok, I} = cnode_sessions:info(S),
				ok = cnode_sessions:answer(S, "mine", <<"1">>), [maps:get(K, I) || K <- [name, state, connection]]`, addr))
		}()
		w.Kill()
		require.Equal(t, `[<<"one">>,<<"0">>,kept]`, <-got)
		p := make([]byte, 4)
		_, err = c.Read(p)
		require.NoError(t, err)
		require.Equal(t, "mine", string(p))
		f.only(t, 1)
	})
}

// What a peer has sent before it ended, while nobody had the connection, is read by who asks for
// its name; then the name is dialled anew.
func TestOutgoingEndsMeanwhile(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		ebin := build(t, r, "src")
		for _, kind := range []string{"socket", "gen_tcp"} {
			for _, way := range []string{"end", "reset"} {
				t.Run(kind+" "+way, func(t *testing.T) {
					f := far(t, 0)
					h := newDialHouse(t, r, ebin, f.Addr().String())
					w := h.dialler(kind, f.Addr().String(), "one")
					c := f.last(t, "one", 1).(*net.TCPConn)
					w.Kill()
					h.until("nobody has it", func(s front.Stats) bool { return len(s.Workers) == 0 && s.Unclaimed == 1 })
					_, err := c.Write([]byte("goodbye"))
					require.NoError(t, err)
					if way == "reset" {
						require.NoError(t, c.SetLinger(0))
					}
					require.NoError(t, c.Close())
					w = h.dialler(kind, f.Addr().String())
					read := map[string]string{"socket": "cnode_sessions:peek(S, 5000)", "gen_tcp": "gen_tcp:recv(S, 7, 5000)"}[kind]
					require.Equal(t, `[<<"one">>,<<"0">>,ended,{ok,<<"goodbye">>},closed,ok]`, w.Do(t, fmt.Sprintf(`
						{ok, S} = cnode_sessions:connect(server, "one", "%s"), {ok, I} = cnode_sessions:info(S),
						[maps:get(K, I) || K <- [name, state, connection]] ++ [%s, case %s of
							{error, closed} -> closed; {error, econnreset} -> closed; Other -> Other end, cnode_sessions:close(S)]`,
						f.Addr(), read, map[string]string{"socket": "cnode_sessions:more(S, 5000)", "gen_tcp": "gen_tcp:recv(S, 0, 5000)"}[kind])))
					require.Equal(t, `[<<>>,new]`, w.Do(t, fmt.Sprintf(`{ok, S2} = cnode_sessions:connect(server, "one", "%s"),
						{ok, I2} = cnode_sessions:info(S2), ok = cnode_sessions:answer(S2, "NAME one\n", <<"0">>),
						register(kept, spawn(fun() -> receive go -> ok end end)),
						_ = case S2 of _ when is_port(S2) -> gen_tcp:controlling_process(S2, whereis(kept));
							_ -> socket:setopt(S2, {otp, controlling_process}, whereis(kept)) end,
						[maps:get(K, I2) || K <- [state, connection]]`, f.Addr())))
					f.last(t, "one", 2)
					// an owner that ends without closing leaves it to the next
					require.Equal(t, `[<<"0">>,kept]`, w.Do(t, fmt.Sprintf(`kept ! go, {ok, S3} = cnode_sessions:connect(server, "one", "%s"),
						{ok, I3} = cnode_sessions:info(S3), [maps:get(K, I3) || K <- [state, connection]]`,
						f.Addr())))
					s := h.k.Stats()
					require.EqualValues(t, 2, s.Dialled)
					require.Zero(t, s.Reset)
				})
			}
		}
	})
}

// The front moves to another process: connections stay with their worker, wait on, and who waits
// for one gets it there.
func TestOutgoingUpgrade(t *testing.T) {
	t.Parallel()
	otp.Each(t, func(t *testing.T, r otp.Release) {
		f := far(t, time.Millisecond)
		addr := f.Addr().String()
		free, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		nobody := free.Addr().String()
		require.NoError(t, free.Close())
		h := newDialHouse(t, r, build(t, r, "src"), addr, nobody)
		h.dial.Pause, h.dial.LongestPause = time.Second, time.Second
		names := []string{"a", "b", "c"}
		w := h.dialler("socket", addr, names...)
		f.further(t, 50)
		h.moves(t)
		f.further(t, 50)
		// one that waits for a name, and one whose name is paused
		waits := h.dialler("socket", addr)
		require.Equal(t, "unreachable", waits.Do(t, fmt.Sprintf(`{error, {U, _}} = cnode_sessions:connect(server, "void", "%s"), U`, nobody)))
		require.Equal(t, "ok", waits.Do(t, fmt.Sprintf(`Me = self(), register(asked, spawn(fun() ->
			All = [begin R = cnode_sessions:connect(server, N, A, #{wait => true, tell => Me}),
				_ = [socket:setopt(S, {otp, controlling_process}, Me) || {ok, S} <- [R]], R end || {N, A} <- [{"void", "%s"}, {"a", "%s"}]],
			receive {From, all} -> From ! All end end)), receive {cnode_sessions, <<"void">>, {redial, _, _}} -> ok end`, nobody, addr)))
		h.moves(t)
		f.further(t, 50)
		w.Kill()
		require.Equal(t, `[unreachable,kept]`, waits.Do(t, `asked ! {self(), all}, receive [{error, {Why, _}}, {ok, S}] ->
			{ok, #{connection := How}} = cnode_sessions:info(S), [Why, How] end`))
		h.until("the others wait", func(s front.Stats) bool { return s.Unclaimed == 2 })
		waits.Kill()
		h.until("all wait", func(s front.Stats) bool { return s.Unclaimed == 3 })
		h.moves(t)
		require.Equal(t, 3, h.k.Stats().Unclaimed)
		h.dialler("socket", addr, names...)
		f.further(t, 50)
		f.only(t, len(names))
		require.EqualValues(t, len(names), h.k.Stats().Dialled)
		require.Zero(t, h.k.Stats().Reset)
	})
}

// The figure of the page: many connections, half of them with TLS, and every PING answered once
// while workers are killed and the front moves.
//
//	CNODE_TEST_OUTGOING=1000 go test -count=1 -v -timeout 1h -run TestOutgoingFigure/otp27 ./test/interop/beam
func TestOutgoingFigure(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		many := otp.Times("CNODE_TEST_OUTGOING", need.Fewer(40, 1000))
		need.Descriptors(t, uint64(1000+8*many))
		config, _ := farCertificate(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		think := time.Duration(many) * time.Millisecond
		sides := []*farSide{far(t, think), farAt(t, tls.NewListener(l, config), think)}
		h := newDialHouse(t, r, build(t, r, "src"), sides[0].Addr().String(), sides[1].Addr().String())
		var names [2][]string
		for i := range many {
			names[i%2] = append(names[i%2], fmt.Sprint("line", i))
		}
		start := func() *otp.Node {
			w := h.dialler("socket", sides[0].Addr().String(), names[0]...)
			require.Equal(t, "ok", w.Do(t, fmt.Sprintf(`outgoing:more(server, socket, "%s", #{tls => true}, [<<"%s">>])`,
				sides[1].Addr(), strings.Join(names[1], `">>, <<"`))))
			return w
		}
		w := start()
		further := func() {
			for _, f := range sides {
				f.further(t, int64(many))
			}
		}
		for i := range 5 {
			further()
			w.Kill()
			w = start()
			if i == 1 || i == 3 {
				further()
				h.moves(t)
			}
		}
		further()
		for i, f := range sides {
			f.only(t, len(names[i]))
		}
		s := h.k.Stats()
		t.Log(sides[0].answers.Load(), "and with TLS", sides[1].answers.Load(), "answers, each once; front:", s)
		require.EqualValues(t, many, s.Dialled)
		require.Zero(t, s.Reset)
	})
}
