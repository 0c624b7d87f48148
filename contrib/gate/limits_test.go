package gate_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
)

func (w *world) atoms(t *testing.T) int {
	n, err := strconv.Atoi(w.inner.Do(t, "erlang:system_info(atom_count)"))
	require.NoError(t, err)
	return n
}

// Who may ask a server may not fill the node's table of atoms with what he asks.
func TestAtomFlood(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)[0]
	w := newWorld(t, r, r)
	w.cfg.Limits.Atoms = 500
	g := w.start(t, &gate.Options{})
	defer func() { require.NoError(t, g.Close()) }()
	require.Equal(t, "{rang,beer}", w.ask(t, "gen_server:call({till, IN}, beer)"))
	before := w.atoms(t)
	w.ask(t, `[gen_server:cast({till, IN}, list_to_atom("flood" ++ integer_to_list(I))) || I <- lists:seq(1, 3000)], ok`)
	w.ask(t, `Big = binary:copy(<<0>>, 100000),
		[gen_server:cast({till, IN}, {Big, list_to_atom("piece" ++ integer_to_list(I))}) || I <- lists:seq(1, 20)], ok`)
	w.ask(t, `[{list_to_atom("name" ++ integer_to_list(I)), IN} ! x || I <- lists:seq(1, 1000)], ok`)
	w.outer.Becomes(t, w.in(`catch gen_server:call({till, IN}, one_too_many, 5000), lists:member(IN, nodes(hidden))`), "true")
	require.Less(t, w.atoms(t)-before, 600)
	w.ask(t, "erlang:disconnect_node(IN)")
	w.ask(t, `[catch gen_server:call({till, IN}, list_to_atom("again" ++ integer_to_list(I))) || I <- lists:seq(1, 100)], ok`)
	require.Less(t, w.atoms(t)-before, 600, "the same name comes again")
}

// Whose name may not come, whoever has another cookie, and one name too many: none of them reaches
// the node behind, which learns no name.
func TestStrangers(t *testing.T) {
	r := otp.Releases(t)[0]
	w := newWorld(t, r, r)
	w.cfg.Outside.Names = []string{"ci*@*"}
	w.cfg.Limits.Names = 2
	g := w.start(t, &gate.Options{Logger: otp.Log(t, "gate")})
	defer func() { require.NoError(t, g.Close()) }()
	before := w.atoms(t)
	connect := func(name, cookie string) error {
		n, err := nodes.New(nodes.Config{
			Name: name + "@127.0.0.1", Cookie: cookie,
			Resolver: &nodes.PortMapper{Client: epmd.Client{Addr: fmt.Sprintf("127.0.0.1:%d", w.outer.EpmdPort())}},
		})
		require.NoError(t, err)
		defer func() { require.NoError(t, n.Close()) }()
		_, err = n.Connect(t.Context(), w.inner.Name())
		return err
	}
	for i := range 20 {
		require.ErrorIs(t, connect(fmt.Sprintf("stranger%d", i), "outer"), dist.ErrNotAllowed)
	}
	require.Zero(t, w.atoms(t)-before)
	require.ErrorIs(t, connect("ci1", "wrong"), dist.ErrNoProof)
	require.NoError(t, connect("ci1", "outer"))
	require.NoError(t, connect("ci2", "outer"))
	require.ErrorIs(t, connect("ci3", "outer"), dist.ErrNotAllowed)
	require.Eventually(t, func() bool { return g.Stats().Failed >= 22 }, time.Minute, time.Millisecond)
}

// Who has not the cookie uses up names that may be tried, and none of those that may come.
func TestNamesWithoutCookie(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)
	w, a := withGate(t, r[len(r)-1], func(w *world) {
		w.cfg.Limits.Names = 3
		w.cfg.Outside.Names = append(w.cfg.Outside.Names, "listed@127.0.0.1")
	})
	named := func(name string) attacker {
		b := a
		b.name = name + "@127.0.0.1"
		return b
	}
	require.NoError(t, named("attacker0").again(t).Close())
	before := w.atoms(t)
	for i := 1; i < 9; i++ {
		_, err := named(fmt.Sprintf("attacker%d", i)).dial(func(s *protocol.Self, _ *protocol.InitiateOptions) { s.Cookie = "wrong" })
		require.Error(t, err)
		require.Equal(t, i > 3, errors.Is(err, dist.ErrNotAllowed), "%d: %v", i, err)
	}
	require.LessOrEqual(t, w.atoms(t)-before, 6, "each name may be an atom, and so may what net_kernel says of it")
	for _, name := range []string{"attacker0", "attacker1", "listed"} { // as soon as what was tried in that name is over
		require.NoError(t, named(name).again(t).Close())
	}
}

// A peer that asks and reads no answers holds up the server inside only until its connection ends.
func TestPeerThatReadsNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes the 30 seconds that a node may take nothing")
	}
	r := otp.Releases(t)
	w, a := withGate(t, r[len(r)-1], nil)
	c := a.again(t)
	ask := frameFor(c.peer.Flags, &dist.Control{Op: dist.OpRegSend, From: a.pid(1), ToName: "till"},
		encoded(ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{a.pid(1), a.ref(1)}, ei.Binary(make([]byte, 10_000))}))
	for range 3000 {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := c.Write(ask); err != nil {
			break
		}
	}
	require.Contains(t, w.inner.Eval(t, "catch gen_server:call(till, x, 100)"), "timeout", "the server waits for the peer")
	answered := func() bool { return w.inner.Eval(t, "catch gen_server:call(till, x, 1000)") == "{ok,x}" }
	require.Eventually(t, answered, 2*time.Minute, time.Second)
	require.NoError(t, c.Close())
}

// The connection whose messages take most of what the gate has for all of them ends, and not one
// that comes with a little more.
func TestMemoryOfAll(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)
	_, a := withGate(t, r[len(r)-1], func(w *world) { w.cfg.Limits.Memory, w.cfg.Limits.Message = 24<<20, 16<<20 })
	small := a
	small.name = "attacker_small@127.0.0.1"
	c := small.again(t)
	defer c.Close()
	asks := func() {
		ask := frameFor(c.peer.Flags, &dist.Control{Op: dist.OpRegSend, From: small.pid(1), ToName: "till"},
			encoded(ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{small.pid(1), small.ref(1)}, ei.Atom("casts")}))
		_, err := c.Write(ask)
		require.NoError(t, err)
		ctl, err := c.next()
		require.NoError(t, err)
		require.NotEqual(t, dist.OpPayloadMonitorPExit, ctl.Op)
	}
	asks()
	var large []*rawConn
	for i, mib := range []int{14, 8, 4} { // the third is one too many
		b := a
		b.name = fmt.Sprintf("attacker%d@127.0.0.1", i)
		c := b.again(t)
		large = append(large, c)
		defer c.Close()
		_, err := c.Write(append(binary.BigEndian.AppendUint32(nil, 16<<20), make([]byte, mib<<20)...))
		require.NoError(t, err)
		asks()
	}
	_, err := large[0].Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the first one, which has most, ends")
	asks()
	for _, c := range large[1:] {
		require.NoError(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "who has less is there still")
	}
}

// A message that a BEAM may get in several frames has no priority: it would read beyond memory.
func TestPriority(t *testing.T) {
	t.Parallel()
	r := otp.Releases(t)
	last := r[len(r)-1]
	if last.Number < 28 {
		need.Missing(t, "no OTP 28, the first that knows priority")
	}
	w, a := withGate(t, last, func(w *world) { w.cfg.Rules = []gate.Rule{{Op: gate.MaySend, Target: "*", Allow: true}} })
	text := w.inner.Do(t, `Me = self(),
		register(queue, spawn(fun() -> Me ! {a, alias([priority])}, receive never -> ok end end)),
		receive {a, A} -> binary_to_list(base64:encode(term_to_binary([{alias, A}]))) end`)
	alias := secretOf[ei.Ref](t, text, "alias")
	c := a.again(t)
	defer c.Close()
	sends := func(ctl *dist.Control, size int, pieces bool) {
		ctl.Op, ctl.From = dist.OpAltactSigSend, a.pid(1)
		p := encoded(ei.Binary(make([]byte, size)))
		frames := frameFor(c.peer.Flags, ctl, p)
		if pieces {
			frames = join(inPieces(uint64(size), ctl, p, 16<<10)...)
		}
		_, err := c.Write(frames)
		require.NoError(t, err)
	}
	prio := func() *dist.Control { return &dist.Control{Flags: dist.AltactPrio | dist.AltactAlias, Ref: alias} }
	sends(&dist.Control{Flags: dist.AltactAlias, Ref: alias}, 1, false)
	sends(prio(), 30_001, false)
	sends(prio(), 30_002, true)
	sends(prio(), 50_003, false)
	sends(prio(), 200_004, false)
	sends(prio(), 50_005, true)
	sends(prio(), 200_006, true)
	w.inner.Becomes(t, "{messages, L} = process_info(whereis(queue), messages), [size(B) || B <- L]",
		"[30001,1,30002,50003,200004,50005,200006]")
}

// tlsFiles makes certificates, and gives an option file for TLS 1.3.
func tlsFiles(t *testing.T) string {
	demo := filepath.Join(t.TempDir(), "cnode-demo")
	build := exec.Command("go", "build", "-C", "../..", "-o", demo, "./cmd/cnode-demo")
	build.Env = append(os.Environ(), "GOWORK=") // that of the repository
	said, err := build.CombinedOutput()
	require.NoError(t, err, string(said))
	file, err := otp.TLSFiles(filepath.Join(t.TempDir(), "tls"), demo, "1.3")
	require.NoError(t, err)
	return file
}

// TLS is outside, and the node inside speaks TCP; with rules and without.
func TestTLSOutside(t *testing.T) {
	t.Parallel()
	file := tlsFiles(t)
	releases := otp.Releases(t)
	r := releases[len(releases)-1]
	for _, unfiltered := range []bool{false, true} {
		w := newWorld(t, r, r)
		w.outer = r.Start(t, otp.Options{Cookie: "outer", EpmdPort: w.outer.EpmdPort(), TLSOptFile: file})
		w.cfg.Outside.Names, w.cfg.Outside.Nodes = []string{w.outer.Name()}, []gate.Node{{Name: w.outer.Name()}}
		w.cfg.Outside.OptFile, w.cfg.Unfiltered = file, unfiltered
		g := w.start(t, nil)
		require.Equal(t, "{price,1}", w.ask(t, "erpc:call(IN, shop, quote, [1])"))
		require.Equal(t, "{rang,beer}", w.ask(t, "gen_server:call({till, IN}, beer)"))
		require.Equal(t, unfiltered, w.ask(t, "erpc:call(IN, erlang, node, []) =:= IN") == "true")
		require.Equal(t, "true", w.inner.Do(t, w.in("rpc:call(OUT, erlang, node, []) =:= OUT")))
		require.NoError(t, g.Close())
	}
}

// What rules call a process that has sent something before may be sent to.
func TestTalked(t *testing.T) {
	r := otp.Releases(t)[0]
	w := newWorld(t, r, r)
	w.cfg.Rules = append(w.cfg.Rules, gate.Rule{Op: gate.MaySend, Target: gate.Talked, Allow: true})
	g := w.start(t, nil)
	defer func() { require.NoError(t, g.Close()) }()
	w.outer.Do(t, "register(waits, spawn(fun() -> receive {hello, P} -> P ! answer end end)), ok")
	require.Equal(t, "answer", w.inner.Do(t, w.in("{waits, OUT} ! {hello, self()}, receive A -> A after 60000 -> none end")))
	// A pid that has sent nothing.
	pid := w.outer.Do(t, w.in("{price, P} = erpc:call(IN, shop, quote, [1]), P"))
	require.Equal(t, "1", pid)
	w.inner.Do(t, "hits ! {ask, self()}, receive {hits, []} -> ok end")
}

// What an allowed function prints does not go to a process that the peer may not send to.
func TestForeignGroupLeader(t *testing.T) {
	r := otp.Releases(t)[0]
	w := newWorld(t, r, r)
	for _, f := range []string{"erlang:whereis/1", "io:format/1"} {
		w.cfg.Rules = append(w.cfg.Rules, gate.Rule{Op: gate.MayCall, Target: f, Allow: true})
	}
	g := w.start(t, nil)
	defer func() { require.NoError(t, g.Close()) }()
	require.Equal(t, "ok", w.ask(t, `erpc:call(IN, io, format, ["x"])`), "with its own")
	require.Contains(t, w.ask(t, `
		Own = group_leader(), group_leader(erpc:call(IN, erlang, whereis, [hits]), self()),
		R = (catch erpc:call(IN, io, format, ["x"], 5000)), group_leader(Own, self()), R`), "'EXIT'")
	require.Equal(t, "{message_queue_len,0}", w.inner.Do(t, "process_info(whereis(hits), message_queue_len)"))
}
