package gate_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes/dist"
)

// friend ties itself to whoever asks, so that an attacker has something to end.
const friend = `
-module(friend).
-export([start/0, ties/0]).
start() -> register(friend, spawn(fun() -> process_flag(trap_exit, true), ties() end)), ok.
ties() ->
    receive
        {tie, P} ->
            link(P), monitor(process, P), gen_server:send_request(P, hello),
            spawn_request(node(P), shop, loop, [], [monitor, link]), erlang:send_after(500, self(), {untie, P});
        {untie, P} -> unlink(P);
        _ -> ok
    end, ties().
`

// TestMutatedFrames has the gate read what a peer may say and mutations of it, for as long as
// CNODE_TEST_GATE_MUTATE says ("10m"), beside a BEAM of each release, and shows what that keeps.
func TestMutatedFrames(t *testing.T) {
	d, err := time.ParseDuration(os.Getenv("CNODE_TEST_GATE_MUTATE"))
	if err != nil {
		t.Skip("takes minutes: CNODE_TEST_GATE_MUTATE=10m")
	}
	for _, r := range otp.Releases(t) {
		t.Run(r.String(), func(t *testing.T) {
			t.Parallel()
			mutate(t, r, d)
		})
	}
}

func mutate(t *testing.T, r otp.Release, d time.Duration) {
	const atoms = 1000
	w := siege(t, r, r)
	w.inner.Load(t, friend)
	w.inner.Do(t, "friend:start()")
	w.cfg.Outside.Names = []string{"attacker*@127.0.0.1"}
	w.cfg.Limits = gate.Limits{Atoms: atoms, AllAtoms: 2 * atoms, Names: 10, Monitors: 1000, Message: 1 << 20, Held: 4 << 20, Memory: 64 << 20}
	w.cfg.Rules = append(w.cfg.Rules, gate.Rule{Op: gate.MaySend, Target: "friend", Allow: true},
		gate.Rule{Op: gate.MayExit, Target: "friend", Allow: true}, gate.Rule{Op: gate.MayLink, Target: "plain", Allow: true})
	g := w.start(t, &gate.Options{})
	defer func() { require.NoError(t, g.Close()) }()
	note := pidOf(t, w.secrets(t), "note")
	kept := func() (string, brief, int) {
		memory := w.inner.Do(t, "[garbage_collect(P) || P <- processes()], [{K, V div 1024} || {K, V} <- erlang:memory()]")
		return memory, tablesOf(t, w.inner), w.atoms(t)
	}
	memory, tables, count := kept()
	t.Logf("before: %+v, %d atoms, %s", tables, count, memory)

	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	var frames, closed atomic.Int64
	var work sync.WaitGroup
	for i := range 2 {
		m := &mutator{t: t, r: rand.New(rand.NewPCG(seed, uint64(i))), note: note}
		m.a = attacker{node: w.inner.Name(), cookie: "outer", name: fmt.Sprintf("attacker%d@127.0.0.1", i), addr: g.Addr(w.inner.Name()).String()}
		work.Go(func() {
			for end := time.Now().Add(d); time.Now().Before(end) && !t.Failed(); {
				frames.Add(m.connection())
				closed.Add(1)
			}
		})
	}
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(min(time.Minute, max(time.Millisecond, time.Until(end)))) {
		m, b, n := kept()
		t.Logf("%d frames, %d connections: %+v, %d atoms, %s", frames.Load(), closed.Load(), b, n, m)
	}
	work.Wait()
	memory, after, n := kept()
	t.Logf("after %d frames, %d connections: %+v, %d atoms, %s; the gate: %+v", frames.Load(), closed.Load(), after, n, memory, g.Stats())
	require.Less(t, n-count, 2*atoms+300)
	require.Less(t, after.exports-tables.exports, 200) // what the node itself loads
	require.Less(t, after.funs-tables.funs, 200)
	require.Less(t, after.nodes-tables.nodes, 2*atoms+100)
	require.Less(t, after.chain, 200)
	require.Equal(t, "{ok,x}", w.inner.Do(t, "gen_server:call(till, x)"))
	require.Equal(t, "true", w.inner.Do(t, "is_pid(whereis(note))"))
}

// A mutator makes frames that are nearly right.
type mutator struct {
	t    *testing.T
	a    attacker
	r    *rand.Rand
	note ei.Pid

	mu    sync.Mutex
	waits []dist.Control // of the node inside: its monitors, links and requests to spawn
	seq   uint64
}

// connection writes frames until the connection ends, and gives how many.
func (m *mutator) connection() (n int64) {
	c := m.a.again(m.t)
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	read := make(chan struct{})
	go func() {
		defer close(read)
		for {
			ctl, err := c.next()
			if err != nil && ctl.Op == 0 {
				return
			}
			switch ctl.Op {
			case dist.OpMonitorP, dist.OpLink, dist.OpSpawnRequest, dist.OpUnlinkID:
				m.mu.Lock()
				if m.waits = append(m.waits, ctl); len(m.waits) > 50 {
					m.waits = m.waits[1:]
				}
				m.mu.Unlock()
			}
		}
	}()
	defer func() { _ = c.Close(); <-read }()
	for range 2000 {
		frames := m.frames(c.peer.Flags)
		if m.r.IntN(100) == 0 { // that mostly ends the connection
			for i, f := range frames {
				frames[i] = m.framed(m.mutated(f, 4))
			}
		}
		if _, err := c.Write(slices.Concat(frames...)); err != nil {
			return n
		}
		n += int64(len(frames))
		select {
		case <-read:
			return n
		default:
		}
	}
	_, _ = io.WriteString(c, "\x00\x00\x00\x00")
	return n
}

// term makes a term in which there is something of all that a BEAM reads.
func (m *mutator) term(depth int) ei.Term {
	atom := func() ei.Atom { return ei.Atom("mutated" + strconv.Itoa(m.r.IntN(5000))) }
	pid := ei.Pid{Node: m.node(), ID: m.r.Uint32N(100), Creation: m.creation()}
	switch n := m.r.IntN(14); {
	case n == 0:
		return atom()
	case n == 1:
		return ei.Int(m.r.Int64())
	case n == 2:
		return ei.Binary(make([]byte, m.r.IntN(300)))
	case n == 3:
		return ei.Float(m.r.Float64())
	case n == 4:
		return pid
	case n == 5:
		return ei.Ref{Node: m.node(), Creation: m.creation(), Len: uint8(1 + m.r.IntN(5)), ID: [5]uint32{m.r.Uint32()}}
	case n == 6:
		return ei.Port{Node: m.node(), ID: m.r.Uint64(), Creation: m.creation()}
	case n == 7:
		return ei.Export{Module: atom(), Function: atom(), Arity: uint8(m.r.Uint32())}
	case n == 8:
		f := ei.Fun{Module: atom(), Arity: 1, Index: m.r.Uint32N(9), OldIndex: 1, OldUniq: m.r.Int64N(1 << 27), Pid: pid}
		f.Uniq[0] = byte(m.r.Uint32())
		if depth > 0 {
			f.Free = []ei.Term{m.term(depth - 1)}
		}
		return f
	case depth == 0:
		return ei.List{}
	case n == 9:
		return ei.Map{{Key: m.term(0), Value: m.term(depth - 1)}}
	case n == 10:
		return ei.List{m.term(depth - 1), m.term(depth - 1)}
	}
	return ei.Tuple{m.term(depth - 1), m.term(depth - 1)}
}

func (m *mutator) node() ei.Atom {
	return []ei.Atom{ei.Atom(m.a.name), m.note.Node, "third@127.0.0.1", ei.Atom(fmt.Sprintf("n%d@h", m.r.IntN(3000)))}[m.r.IntN(4)]
}

func (m *mutator) creation() uint32 {
	return []uint32{7, m.note.Creation, m.r.Uint32(), m.r.Uint32N(5000)}[m.r.IntN(4)]
}

// frames makes those of a message that is right.
func (m *mutator) frames(flags dist.Flags) [][]byte {
	me := m.a.pid(1 + m.r.Uint32N(20))
	ref := m.a.ref(m.r.Uint32N(3000), 1, 1)
	raw := func() []byte { return encoded(m.term(4)) }
	names := []ei.Atom{"till", "friend", "note", "rex", "net_kernel", "plain", "user"}
	name := names[m.r.IntN(len(names))]
	m.mu.Lock()
	ctl := dist.Control{Op: dist.OpRegSend, From: me, ToName: name}
	wait := dist.Control{From: m.note, Ref: ref}
	if len(m.waits) > 0 {
		wait = m.waits[m.r.IntN(len(m.waits))]
	}
	m.mu.Unlock()
	if wait.Ref == (ei.Ref{}) { // a link
		wait.Ref = ref
	}
	if wait.To != (ei.Pid{}) {
		me = wait.To
	}
	payload := encoded(ei.Tuple{ei.Atom("$gen_cast"), m.term(4)})
	switch m.r.IntN(18) {
	case 0:
		payload = encoded(ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{me, ref}, m.term(4)})
	case 1:
		ctl, payload = dist.Control{Op: dist.OpRegSend, From: me, ToName: "friend"}, encoded(ei.Tuple{ei.Atom("tie"), me})
	case 2:
		ctl, payload = dist.Control{Op: dist.OpPayloadExit, From: me, To: wait.From}, raw()
	case 3:
		ctl, payload = dist.Control{Op: dist.OpPayloadMonitorPExit, From: me, To: wait.From, Ref: wait.Ref}, raw()
	case 4:
		ctl, payload = dist.Control{Op: dist.OpExit, From: me, To: wait.From, Reason: raw()}, nil
	case 5:
		ctl, payload = dist.Control{Op: dist.OpMonitorPExit, FromName: name, To: wait.From, Ref: wait.Ref, Reason: raw()}, nil
	case 6:
		ctl, payload = dist.Control{Op: dist.OpMonitorP, From: me, ToName: name, Ref: ref}, nil
	case 7:
		ctl, payload = dist.Control{Op: dist.OpDemonitorP, From: me, ToName: name, Ref: ref}, nil
	case 8:
		ctl, payload = dist.Control{Op: dist.OpLink, From: me, To: wait.From}, nil
	case 9:
		ctl, payload = dist.Control{Op: dist.OpUnlinkID, From: me, To: wait.From, ID: 1 + m.r.Uint64N(9)}, nil
	case 10:
		ctl, payload = dist.Control{Op: dist.OpUnlinkIDAck, From: me, To: wait.From, ID: max(1, wait.ID)}, nil
	case 11:
		ctl, payload = dist.Control{Op: dist.OpSpawnReply, Ref: wait.Ref, To: wait.From, Flags: m.r.Uint64N(4), Result: encoded(m.a.pid(50))}, nil
	case 12:
		ctl = dist.Control{Op: dist.OpSpawnRequest, Ref: ref, From: me, GroupLeader: me, Module: "shop", Function: "quote", Arity: 1,
			Options: encoded(ei.List{ei.Atom("monitor"), ei.Atom("link")})}
		payload = encoded(ei.List{m.term(3)})
	case 13:
		ctl, payload = dist.Control{Op: dist.OpSendSender, From: me, To: wait.From}, encoded(ei.Tuple{wait.Ref, m.term(4)})
	case 14:
		ctl, payload = dist.Control{Op: dist.OpAliasSend, From: me, Ref: wait.Ref}, encoded(ei.Tuple{ei.List{ei.Atom("alias")}, m.term(4)})
	case 15:
		ctl, payload = dist.Control{Op: dist.OpAltactSigSend, Flags: m.r.Uint64N(2) * dist.AltactExit, From: me, To: wait.From}, raw()
	case 16:
		ctl, payload = dist.Control{Op: dist.OpPayloadExit2, From: me, To: wait.From}, raw()
	case 17:
		ctl.Op, ctl.Token = dist.OpRegSend.Traced(), raw()
	}
	if m.r.IntN(2) == 0 {
		payload = m.mutated(payload, 0)
		if m.r.IntN(20) == 0 { // ends the connection mostly
			ctl.Reason, ctl.Token = m.mutated(ctl.Reason, 0), m.mutated(ctl.Token, 0)
		}
	}
	if m.r.IntN(6) == 0 && len(payload) > 0 {
		m.seq++
		return inPieces(m.seq, &ctl, payload, 1+m.r.IntN(len(payload)))
	}
	b, err := protocol.AppendFrameHead(nil, flags, &ctl, len(payload))
	if err != nil { // something is missing
		return nil
	}
	return [][]byte{append(b, payload...)}
}

// mutated changes a few bytes, or moves some, behind the first ones.
func (m *mutator) mutated(frame []byte, first int) []byte {
	b := slices.Clone(frame)
	tags := []byte("CFMPRXYZabcdefghijklmnopqrstuvwx") // those of terms, and some that are none
	for range 1 + m.r.IntN(3) {
		if len(b) <= first+1 {
			break
		}
		at := first + m.r.IntN(len(b)-first)
		switch m.r.IntN(6) {
		case 0:
			b[at] ^= 1 << m.r.IntN(8)
		case 1:
			b[at] = tags[m.r.IntN(len(tags))]
		case 2:
			b[at] = byte(m.r.Uint32())
		case 3:
			b = append(b[:at], b[at+m.r.IntN(len(b)-at):]...)
		case 4:
			from := first + m.r.IntN(len(b)-first)
			part := slices.Clone(b[from : from+m.r.IntN(len(b)-from)])
			b = slices.Insert(b, at, part...)
		case 5:
			b[at]++
		}
	}
	return b
}

// framed sets the length of a frame, which is right mostly.
func (m *mutator) framed(b []byte) []byte {
	if m.r.IntN(20) > 0 {
		binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	}
	return b
}
