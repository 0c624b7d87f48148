package beam

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff"
)

//go:embed testdata/outgoing.erl
var outgoing string

//go:embed testdata/irc.ex
var ircEx string

// A far side is what workers have connections to. It sends numbered PINGs over each, and looks at
// the answers.
type farSide struct {
	net.Listener
	think   time.Duration
	answers atomic.Int64
	all     sync.WaitGroup

	mu    sync.Mutex
	conns map[string][]net.Conn // by the name that was said first
	wrong []string
}

// far starts a far side. Its connections are silent if think is 0.
func far(t *testing.T, think time.Duration) *farSide {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return farAt(t, l, think)
}

func farAt(t *testing.T, l net.Listener, think time.Duration) *farSide {
	t.Helper()
	f := &farSide{Listener: l, think: think, conns: map[string][]net.Conn{}}
	f.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.all.Go(func() {
				if err := f.serve(c); err != nil {
					f.mu.Lock()
					f.wrong = append(f.wrong, err.Error())
					f.mu.Unlock()
				}
			})
		}
	})
	t.Cleanup(func() { f.close() })
	return f
}

func (f *farSide) close() {
	_ = f.Close()
	f.mu.Lock()
	for _, conns := range f.conns {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	f.mu.Unlock()
	f.all.Wait()
}

func (f *farSide) serve(c net.Conn) error {
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	name, ok := strings.CutPrefix(strings.TrimSpace(line), "NAME ")
	if err != nil || !ok {
		return fmt.Errorf("first %q: %v", line, err)
	}
	f.mu.Lock()
	f.conns[name] = append(f.conns[name], c)
	f.mu.Unlock()
	for n := 1; f.think > 0; n++ {
		if _, err := fmt.Fprintf(c, "PING %d\n", 1000+n); err != nil {
			return nil //nolint:nilerr // the test has ended it
		}
		line, err := r.ReadString('\n')
		if err != nil {
			if strings.Contains(err.Error(), net.ErrClosed.Error()) {
				return nil
			}
			return fmt.Errorf("%s, %d: %w", name, n, err)
		}
		if want := fmt.Sprintf("PONG %d %d\n", 1000+n, n); line != want {
			return fmt.Errorf("%s: got %q, want %q", name, line, want)
		}
		f.answers.Add(1)
		time.Sleep(f.think)
	}
	return nil
}

// count is how many connections names have had, and what has gone wrong.
func (f *farSide) count() (names, conns int, wrong []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		conns += len(c)
	}
	return len(f.conns), conns, slices.Clone(f.wrong)
}

// further waits for so many answers, all of which are right.
func (f *farSide) further(t *testing.T, answers int64) {
	t.Helper()
	before := f.answers.Load()
	require.Eventually(t, func() bool {
		_, _, wrong := f.count()
		return len(wrong) > 0 || f.answers.Load()-before > answers
	}, expect.Limit, time.Millisecond)
	_, _, wrong := f.count()
	require.Empty(t, wrong)
}

// only tells that so many names have had one connection each.
func (f *farSide) only(t *testing.T, many int) {
	t.Helper()
	names, conns, wrong := f.count()
	require.Empty(t, wrong)
	require.Equal(t, many, names)
	require.Equal(t, many, conns)
}

// last is the newest connection of a name.
func (f *farSide) last(t *testing.T, name string, nth int) (c net.Conn) {
	t.Helper()
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.conns[name]) >= nth {
			c = f.conns[name][nth-1]
		}
		return c != nil
	}, expect.Limit, time.Millisecond, "%s does not come", name)
	return c
}

// farCertificate is the far side's, for 127.0.0.1 and far.test, and who takes it.
var farCertificate = func() func(t *testing.T) (*tls.Config, *x509.CertPool) {
	once := sync.OnceValues(func() (*x509.Certificate, *tls.Config) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"far.test"}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return nil, nil
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil
		}
		return c, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	})
	return func(t *testing.T) (*tls.Config, *x509.CertPool) {
		t.Helper()
		c, config := once()
		require.NotNil(t, c)
		roots := x509.NewCertPool()
		roots.AddCert(c)
		return config, roots
	}
}()

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
		// the name of an address in vain is paused
		require.Equal(t, `[<<"two">>]`, w.Do(t, fmt.Sprintf(`{error, {unreachable, _}} =
			cnode_sessions:connect(server, "two", "%s", #{tell => self()}), [receive
			{cnode_sessions, Name, {redial, Ms, Why}} when Ms < 200, size(Why) > 0 -> Name end]`, nobody)))
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

// TLS is verified, and the worker is told whose certificate it is; it may begin later, but not
// behind what somebody has put in before.
func TestOutgoingTLS(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		config, _ := farCertificate(t)
		listen := func() net.Listener {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { _ = l.Close() })
			return l
		}
		plain, secret, none := listen(), listen(), listen()
		h := newDialHouse(t, r, build(t, r, "src"), plain.Addr().String(), secret.Addr().String(), none.Addr().String())
		w := h.dialler("socket", "")
		serve := func(l net.Listener, talk func(c net.Conn) error) {
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						_ = talk(c)
					}()
				}
			}()
		}
		serve(tls.NewListener(secret, config), func(c net.Conn) error { _, err := io.Copy(c, c); return err })
		serve(none, func(c net.Conn) error { _, err := fmt.Fprint(c, "welcome\n"); return err })
		said := make(chan string, 1)
		serve(plain, func(c net.Conn) error {
			r := bufio.NewReader(c)
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if _, err = fmt.Fprint(c, "GO\n"); err != nil {
				return err
			}
			if line == "INJECT\n" {
				if _, err = r.ReadString('\n'); err == nil {
					_, err = fmt.Fprint(c, "evil")
				}
				_, _ = io.Copy(io.Discard, c)
				return err
			}
			s := tls.Server(c, config)
			line, err = bufio.NewReader(s).ReadString('\n')
			said <- line
			_, _ = fmt.Fprint(s, line)
			_, _ = io.Copy(io.Discard, s)
			return err
		})
		connect := func(name string, l net.Listener, options string) string {
			return fmt.Sprintf(`case cnode_sessions:connect(server, "%s", "%s", %s) of {error, {A, B}} when is_binary(B) -> A; {ok, X} -> X end`,
				name, l.Addr(), options)
		}
		require.Equal(t, "certificate", w.Do(t, connect("bad", secret, `#{tls => true, server_name => "other.test"}`)))
		require.Equal(t, "tls", w.Do(t, connect("none", none, `#{tls => true}`)))
		require.Equal(t, "[772,true,true]", w.Do(t, `S = `+connect("one", secret, `#{tls => true, server_name => "far.test"}`)+`,
			{ok, #{tls := #{version := V, certificate := C}}} = cnode_sessions:info(S), ok = cnode_sessions:answer(S, "hello", <<"1">>),
			{ok, <<"hello">>} = cnode_sessions:peek(S, 5000), [V, is_binary(C), size(C) > 100]`))

		later := `S = ` + connect("%[1]s", plain, `#{tls => later}`) + `, {ok, I} = cnode_sessions:info(S), false = is_map_key(tls, I),
			ok = cnode_sessions:answer(S, "%[2]s\n", <<"asked">>), {ok, <<"GO\n", _/binary>>} = cnode_sessions:peek(S, 5000),
			{error, badarg} = cnode_sessions:begin_tls(S, 5000), ok = cnode_sessions:point(S, <<"go">>)`
		require.Equal(t, `[{ok,<<"secret\n">>},true]`, w.Do(t, fmt.Sprintf(later, "later", "STARTTLS")+`, ok = cnode_sessions:begin_tls(S, 5000),
			ok = cnode_sessions:answer(S, "secret\n", <<"in">>), Got = cnode_sessions:peek(S, 5000),
			{ok, #{tls := #{certificate := C}}} = cnode_sessions:info(S), [Got, size(C) > 100]`))
		require.Equal(t, "secret\n", <-said)
		require.Equal(t, `tls`, w.Do(t, fmt.Sprintf(later, "evil", "INJECT")+`, ok = cnode_sessions:send(S, "NOW\n"),
			{ok, <<"evil">>} = socket:recv(S, 0, [peek], 5000), {error, {Why, _}} = cnode_sessions:begin_tls(S, 5000), Why`))
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

// The page's program and command, as printed: the system is killed, and the front moves to another
// process when it is told to.
func TestOutgoingProgram(t *testing.T) {
	otp.Elixirs(t, func(t *testing.T, e otp.Elixir) {
		dir := t.TempDir()
		program := filepath.Join(dir, "cnode-front")
		out, err := exec.Command("go", "build", "-o", program, "github.com/cnode-go/cnode/contrib/front/cmd/cnode-front").CombinedOutput()
		require.NoError(t, err, "%s", out)
		config, _ := farCertificate(t)
		roots := filepath.Join(dir, "roots.pem")
		require.NoError(t, os.WriteFile(roots,
			pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: config.Certificates[0].Certificate[0]}), 0o600))
		l, err := tls.Listen("tcp", "127.0.0.1:0", config)
		require.NoError(t, err)
		defer l.Close()
		workers := filepath.Join(sockdir.New(t), "w")
		command := exec.Command(program, "--dial", "127.0.0.1:*", "--workers", workers)
		require.Error(t, command.Run(), "a port is no pattern")
		command = exec.Command(program, "--dial", l.Addr().String(), "--workers", workers)
		command.Env, command.Stderr = append(os.Environ(), "SSL_CERT_FILE="+roots), os.Stderr
		said, err := command.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, command.Start())
		lines := bufio.NewScanner(said)
		next := command.Process.Pid
		t.Cleanup(func() {
			_ = syscall.Kill(next, syscall.SIGTERM)
			for lines.Scan() { // until both processes have ended
			}
			_ = command.Wait()
		})
		require.True(t, lines.Scan())
		require.Contains(t, lines.Text(), "ready front")

		lib := buildElixir(t, e)
		start := func() (kill func()) {
			cmd := exec.Command(e.Program, append(lib, "-e", ircEx, "-e", fmt.Sprintf(`{:ok, _} = Application.ensure_all_started(:cnode)
				children = [{Cnode.Sessions, name: MyApp.Sessions, front: %q, adopt: :socket}, {MyApp.Irc, {"alice", %q}}]
				{:ok, _} = Supervisor.start_link(children, strategy: :one_for_one)
				Process.sleep(:infinity)`, workers, l.Addr()))...)
			cmd.Env, cmd.Stderr = append(os.Environ(), "LC_ALL=C.UTF-8"), os.Stderr
			require.NoError(t, cmd.Start())
			kill = sync.OnceFunc(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
			t.Cleanup(kill)
			return kill
		}
		kill := start()
		c, err := l.Accept()
		require.NoError(t, err)
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(2 * expect.Limit))
		r := bufio.NewReader(c)
		for _, want := range []string{"NICK alice\r\n", "USER alice 0 * :alice\r\n"} {
			got, err := r.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		pings := func(from int) {
			for n := from; n < from+10; n++ {
				_, err := fmt.Fprintf(c, ":irc NOTICE alice :%d\r\nPING %d\r\n", n, n)
				require.NoError(t, err)
				got, err := r.ReadString('\n')
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("PONG %d\r\n", n), got)
			}
		}
		pings(0)
		kill()
		kill = start()
		pings(10)
		require.NoError(t, command.Process.Signal(syscall.SIGUSR2))
		for pid := 0; pid == 0; {
			require.True(t, lines.Scan())
			if _, err := fmt.Sscanf(lines.Text(), "upgraded front %d %d", new(int), &pid); err == nil {
				next = pid
			}
		}
		pings(20)
		kill()
		kill = start()
		pings(30)
		kill()
	})
}

// What gen_tcp has read of a line that was put in before TLS does not count as said in secret.
func TestOutgoingLinesBeforeTLS(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		config, _ := farCertificate(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		h := newDialHouse(t, r, build(t, r, "src"), l.Addr().String())
		w := h.dialler("gen_tcp", "")
		talk := func(c net.Conn) {
			defer c.Close()
			line, _ := bufio.NewReader(c).ReadString('\n')
			_, _ = fmt.Fprint(c, map[string]string{"INJECT\n": "go\nevil\n", "START\n": "go\n"}[line])
			s := tls.Server(c, config)
			if s.Handshake() == nil {
				_, _ = fmt.Fprint(s, "secret\nmore\n")
			}
			_, _ = io.Copy(io.Discard, s)
		}
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				go talk(c)
			}
		}()
		begin := func(line, then string) string {
			return w.Do(t, fmt.Sprintf(`{ok, S} = cnode_sessions:connect(server, "%s", "%s", #{tls => later}),
				ok = inet:setopts(S, [{packet, line}, {active, false}]), ok = cnode_sessions:answer(S, "%[1]s\n", <<"asked">>),
				{ok, <<"go\n">>} = gen_tcp:recv(S, 0), ok = cnode_sessions:point(S, <<"ready">>), %[3]s`, line, l.Addr(), then))
		}
		require.Equal(t, "true", begin("INJECT", "{error, {tls, Why}} = cnode_sessions:begin_tls(S, 20000), is_binary(Why)"))
		require.Equal(t, `{ok,<<"secret\n">>}`, begin("START", "ok = cnode_sessions:begin_tls(S, 20000), gen_tcp:recv(S, 0)"))
	})
}
