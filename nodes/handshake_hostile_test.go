package nodes

import (
	"bytes"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/internal/bonds"
	"github.com/cnode-go/cnode/nodes/internal/handshake"
	"github.com/cnode-go/cnode/nodes/internal/link"
)

// packet puts the length of a handshake packet before it.
func packet(b []byte) []byte { return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...) }

// namePacket is the packet with which a peer of that name, and of role's flags, begins.
func namePacket(t testing.TB, name string) []byte {
	t.Helper()
	return namePacketOf(t, role(name))
}

// Strangers at the port: each gets an error that says what was wrong, and none disturbs the
// connection that is up, or the next one. Package protocol has the other ways of being malformed.
func TestHostileInitiator(t *testing.T) {
	good := namePacket(t, "wire@test")
	for what, tt := range map[string]struct {
		bytes []byte
		want  error
	}{
		"nothing":            {nil, io.EOF},
		"half a length":      {[]byte{0}, io.ErrUnexpectedEOF},
		"half a name":        {good[:9], io.ErrUnexpectedEOF},
		"http":               {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), dist.ErrMalformed},
		"tls":                {[]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, dist.ErrMalformed},
		"an empty packet":    {packet(nil), dist.ErrMalformed},
		"a packet of 64 KiB": {packet(make([]byte, 65535)), dist.ErrMalformed},
		"no name":            {namePacket(t, ""), dist.ErrInvalidName},
		"a name with a NUL":  {namePacket(t, "wi\x00re@test"), dist.ErrInvalidName},
		"our own name":       {namePacket(t, "bob@test"), dist.ErrSelf},
		"no flags":           {namePacketOf(t, protocol.Self{Name: "wire@test"}), dist.ErrMissingFlags},
		"no reply":           {good, io.EOF},
		"a wrong digest":     {slices.Concat(good, packet(append([]byte{'r'}, make([]byte, 20)...))), dist.ErrBadCookie},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, "tcp")
			failed, hear := failures()
			b := w.started("bob", hear)
			l := b.Listeners()[0]
			a := w.started("alice")
			c := connect(t, a, "bob@test")

			p := w.wire(l)
			if tt.bytes != nil {
				_ = p.Write(tt.bytes) // the node may close in the middle of it
			}
			_ = p.S.CloseWrite() // the node may have closed already
			err := arrives(t, failed, "the failed handshake")
			require.ErrorIs(t, err, tt.want)
			require.NotContains(t, err.Error(), "\x00")
			require.NotContains(t, err.Error(), "nil")
			if what == "tls" {
				require.ErrorContains(t, err, "the peer speaks TLS")
			} else {
				require.NotContains(t, err.Error(), "TLS")
			}
			p.Gone()

			require.NoError(t, c.Err())
			connect(t, w.node("carol"), "bob@test")
			require.EqualValues(t, 1, b.Stats().HandshakesFailed)
			require.Equal(t, 2, tableSize(b))
		})
	}
}

// A server that speaks another protocol, or is the wrong node, at the address to which we connect.
func TestHostileAcceptor(t *testing.T) {
	status := func(s string) []byte { return packet([]byte("s" + s)) }
	challenge := func(n string, flags dist.Flags) []byte {
		b, err := protocol.AppendChallenge(nil, protocol.Challenge{Version: 6, Flags: flags, Challenge: 1, Creation: 2, Name: n})
		require.NoError(t, err)
		return packet(b)
	}
	for what, tt := range map[string]struct {
		bytes []byte
		want  error
	}{
		"nothing":          {nil, io.EOF},
		"ssh":              {[]byte("SSH-2.0-OpenSSH_9.2\r\n"), dist.ErrMalformed},
		"not allowed":      {status("not_allowed"), dist.ErrNotAllowed},
		"ok, nothing else": {status("ok"), io.EOF},
		"another node":     {append(status("ok"), challenge("eve@test", dist.FlagsDefault)...), dist.ErrWrongPeer},
		"no flags":         {append(status("ok"), challenge("bob@test", 0)...), dist.ErrMissingFlags},
		"no proof":         {append(status("ok"), challenge("bob@test", dist.FlagsDefault)...), io.EOF},
		"a wrong proof": {bytes.Join([][]byte{status("ok"), challenge("bob@test", dist.FlagsDefault),
			packet(append([]byte{'a'}, make([]byte, 16)...))}, nil), dist.ErrBadCookie},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, "tcp")
			a := w.started("alice")
			at := w.ambush("bob@test")
			connected := async(func() (*Conn, error) { return a.Connect(w.ctx(), "bob@test") })
			p := at.accept()
			if tt.bytes != nil {
				_ = p.Write(tt.bytes) // the node may close in the middle of it
			}
			_ = p.S.CloseWrite() // the node may have closed already
			err := arrives(t, connected, "Connect").err
			require.ErrorIs(t, err, tt.want)
			var h *dist.HandshakeError
			require.ErrorAs(t, err, &h)
			require.NotEmpty(t, h.Phase)
			p.Gone()
			require.Zero(t, tableSize(a))
		})
	}
}

// Config.MaxHandshakes counts those of all listeners together.
func TestCrowdOverAllListeners(t *testing.T) {
	w := newWorld(t, "tcp")
	failed, hear := failures()
	also := []Endpoint{{Addr: w.addr("also")}, {Addr: w.addr("too")}}
	b := w.started("bob", hear, func(cfg *Config) { cfg.HandshakeTimeout, cfg.MaxHandshakes, cfg.Also = time.Hour, 1, also })
	for i, l := range b.Listeners() {
		w.wire(l)
		if i > 0 {
			require.ErrorIs(t, arrives(t, failed, "the end of the one before"), handshake.ErrCrowded)
		}
	}
	_, err := b.Listeners()[0].Accept(w.ctx())
	require.ErrorIs(t, err, ErrBusy, "the node does so itself")
}

// Frames that break the protocol end their connection, with an error that says why, and no other.
func TestHostileFrames(t *testing.T) {
	send := frame(t, dist.Control{Op: dist.OpRegSend, From: ei.Pid{Node: "wire@test", ID: 1, Creation: 77}, ToName: "box"}, ei.Atom("x"))[4:]
	control := func(terms ...ei.Term) []byte {
		return of(ei.AppendTerm([]byte{'p', 131}, ei.Tuple(terms))).must(t)
	}
	pid := ei.Pid{Node: "wire@test", ID: 1, Creation: 77}
	plain := role("wire@test")
	plain.Flags &^= dist.FlagDistHdrAtomCache | dist.FlagFragments
	deep := append([]byte{'p', 131}, bytes.Repeat([]byte{104, 1}, 100_000)...)
	for what, tt := range map[string]struct {
		frame []byte
		want  error
	}{
		"one zero":              {[]byte{0}, dist.ErrFrame},
		"text":                  {[]byte("hello"), dist.ErrFrame},
		"a distribution header": {append([]byte{131, 68, 0}, send[2:]...), protocol.ErrNotNegotiated},
		"a fragment": {append([]byte{131, 69, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0}, send[2:]...),
			protocol.ErrNotNegotiated},
		"no tuple":               {[]byte{'p', 131, 97, 1}, ei.ErrType},
		"an empty tuple":         {control(), protocol.ErrShape},
		"a link of one":          {control(ei.Int(1), pid), protocol.ErrShape},
		"a send without payload": {send[:len(send)-4], dist.ErrFrame},
		"cut short":              {send[:20], ei.ErrTruncated},
		"deep":                   {deep, nil},
		"a huge tuple":           {[]byte{'p', 131, 105, 255, 255, 255, 255, 97, 1}, nil},
		"a huge atom":            {[]byte{'p', 131, 104, 3, 97, 1, 118, 255, 255, 'x'}, nil},
		"compressed":             {[]byte{'p', 131, 80, 255, 255, 255, 255, 0x78, 0x9c}, nil},
	} {
		t.Run(what, func(t *testing.T) {
			for _, upper := range []bool{true, false} {
				w := newWorld(t, "memory")
				a := w.started("alice")
				b, p, c := w.beset(upper, plain)
				require.NoError(t, p.Write(framed(tt.frame)))
				err := ended(t, c)
				require.Error(t, err)
				require.NotErrorIs(t, err, io.EOF)
				if tt.want != nil {
					require.ErrorIs(t, err, tt.want)
				}
				p.Gone()
				require.EqualValues(t, 1, b.Stats().Malformed)
				if upper {
					connect(t, a, "bob@test")
				}
			}
		})
	}
}

// beset gives bob, a node that receives on the upper level or on the lower one, and a peer of it.
func (w *world) beset(upper bool, peer protocol.Self) (b *Node, p *wire, c *Conn) {
	w.t.Helper()
	if upper {
		b = w.started("bob")
		p = w.peer(b.Listeners()[0], peer)
		return b, p, w.conn(b, peer.Name)
	}
	b, l := w.listening("bob")
	p, c = w.joined(l, peer)
	receiving(c)
	return b, p, c
}

// A control message that is not known yet is skipped.
func TestUnknownControlMessage(t *testing.T) {
	unknown := of(ei.AppendTerm([]byte{'p', 131}, ei.Tuple{ei.Int(99), ei.Atom("new"), ei.Map{}})).must(t)
	w := newWorld(t, "tcp")
	b, p := w.met("bob")
	there := registered(t, b, "there")
	for _, f := range [][]byte{unknown, append(unknown[:len(unknown):len(unknown)], 131, 97, 1), unknown} {
		require.NoError(t, p.Write(framed(f)))
	}
	p.Say("there", ei.Atom("known"))
	require.Equal(t, ei.Atom("known"), term(t, there))

	_, l := w.listening("carol") // on the lower level
	q, c := w.joined(l, role("wire@test"))
	require.NoError(t, q.Write(framed(unknown)))
	q.Say("x", ei.Atom("known"))
	_, err := c.Receive(w.ctx())
	require.ErrorIs(t, err, dist.ErrUnknownOp)
	var e *dist.ControlError
	require.ErrorAs(t, err, &e)
	require.Equal(t, "{99,new,#{}}", e.Raw.String())
	m := receive(t, c)
	require.Equal(t, ei.Atom("x"), m.ToName)

	// a Call passes over it
	called := async(func() (ei.Term, error) { return c.RPC(w.ctx(), "m", "f") })
	ctl, request := q.Next()
	for ctl.Op != dist.OpRegSend {
		ctl, request = q.Next()
	}
	from := request.(ei.Tuple)[1].(ei.Tuple)
	require.NoError(t, q.Write(framed(unknown)))
	q.Send(dist.Control{Op: dist.OpSend, To: from[0].(ei.Pid)}, ei.Tuple{from[1], ei.Atom("fine")})
	reply := arrives(t, called, "the reply")
	require.NoError(t, reply.err)
	require.Equal(t, ei.Atom("fine"), reply.v)
}

// A payload that cannot be decoded is an error only for the receiver that decodes it.
func TestMalformedPayload(t *testing.T) {
	b, p := newWorld(t, "tcp").met("bob")
	there := registered(t, b, "there")
	payloads := []ei.Raw{
		{0}, {255}, {104, 255}, {108, 255, 255, 255, 255}, {109, 255, 255, 255, 255, 1}, {116, 0, 0, 0, 9}, {80, 1, 2, 3, 4},
		bytes.Repeat([]byte{104, 1}, 50_000), {118, 0, 2, 0xff, 0xff}, {70, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0}, {131, 97, 1},
	}
	for _, name := range []ei.Atom{"there", "rex", "net_kernel", "nobody"} {
		for _, payload := range payloads {
			f := of(protocol.AppendFrame(nil, &dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: name}, payload)).must(t)
			require.NoError(t, p.Write(f))
		}
	}
	for i := range payloads {
		m := receive(t, there)
		_, err := m.Term()
		require.Error(t, err, i)
		require.NotEmpty(t, err.Error())
	}
	p.Say("there", ei.Atom("good"))
	require.Equal(t, ei.Atom("good"), term(t, there))

	// An exit reason that cannot be decoded ends the process all the same.
	c := box(t, b)
	p.Send(dist.Control{Op: dist.OpLink, From: p.Self, To: c.Pid()}, nil)
	f := of(protocol.AppendFrame(nil, &dist.Control{Op: dist.OpPayloadExit, From: p.Self, To: c.Pid()}, ei.Raw{104, 255})).must(t)
	require.NoError(t, p.Write(f))
	require.Equal(t, ei.Atom("undecodable_reason"), exited(t, c))
}

// An exit reason of a peer's that a third node would refuse, and end its connection to us over, is
// passed on as another one.
func TestExitReasonForThirdNode(t *testing.T) {
	w := newWorld(t, "memory")
	n := w.started("alice")
	bad, good := w.peer(n.Listeners()[0], role("bad@test")), w.peer(n.Listeners()[0], role("good@test"))
	// its own, and it cannot have made that
	impossible := ei.Pid{Node: "good@test", ID: 1 << 28, Creation: 77}
	for _, tt := range []struct{ reason, passed ei.Term }{
		{ei.Tuple{ei.Atom("why"), good.Self}, ei.Tuple{ei.Atom("why"), good.Self}},
		{ei.Tuple{ei.Atom("why"), impossible}, ei.Atom("undecodable_reason")},
	} {
		b := box(t, n)
		good.Send(dist.Control{Op: dist.OpLink, From: good.Self, To: b.Pid()}, nil)
		good.Send(dist.Control{Op: dist.OpMonitorP, From: good.Self, To: b.Pid(), Ref: monitorRef(good, 1)}, nil)
		require.Eventually(t, func() bool {
			return len(linksOf(b)) > 0 && len(watchersOf(b)) > 0
		}, tooLong, tick)
		bad.Send(dist.Control{Op: dist.OpPayloadExit2, From: bad.Self, To: b.Pid()}, tt.reason)
		for range 2 {
			ctl, why := good.Next()
			require.Contains(t, []dist.Op{dist.OpPayloadExit, dist.OpPayloadMonitorPExit}, ctl.Op)
			require.Equal(t, tt.passed, why)
		}
	}
}

// False lengths cost no memory, and lengths over the limit end the connection at once.
func TestHugeFrames(t *testing.T) {
	w := newWorld(t, "tcp")
	_, l := w.listening("bob", func(cfg *Config) { cfg.MaxFrame = 1 << 30 })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var ps []*wire
	var got []<-chan result[*Message]
	for i := range 8 {
		p, c := w.joined(l, role("wire"+string(rune('a'+i))+"@test"))
		require.NoError(t, p.Write([]byte{0x3f, 0xff, 0xff, 0xff, 'p'}))
		ps = append(ps, p)
		got = append(got, async(func() (*Message, error) { return c.Receive(w.ctx()) }))
		require.Eventually(t, func() bool { // until it has read the length
			n, err := c.l.Stream().PendingBytes()
			return link.Within(&c.l).Reading() && n == 0 && err == nil
		}, tooLong, tick)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(8*(link.TrustedFrame+1<<20)), "8 peers claim 8 GiB")
	for i, p := range ps {
		p.Close()
		require.ErrorIs(t, arrives(t, got[i], "the end").err, io.ErrUnexpectedEOF)
	}

	log := new(record)
	b, p := w.met("carol", func(cfg *Config) { cfg.MaxFrame, cfg.Logger = 1000, slog.New(slog.NewTextHandler(log, nil)) })
	there := registered(t, b, "there")
	f := frame(t, dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "there"}, make(ei.Binary, 900))
	f = append(f, make([]byte, 1004-len(f))...)
	// a frame of exactly the limit, though with surplus bytes behind the term
	f[2], f[3] = 1000>>8, 1000&255
	require.NoError(t, p.Write(f))
	receive(t, there)
	c := b.Conn("wire@test")
	require.NoError(t, p.Write([]byte{0, 0, 1001 >> 8, 1001 & 255}))
	require.ErrorIs(t, ended(t, c), ErrFrameTooLong)
	require.Len(t, log.Lines("level=WARN", "receiving failed", "peer=wire@test", "Config.MaxFrame is 1000"), 1)
	p.Gone()
}

// A link or a monitor from a process of a third node would never be broken: it ends the connection,
// as in a BEAM.
func TestForeignSender(t *testing.T) {
	w := newWorld(t, "memory")
	b := w.started("bob")
	there := box(t, b)
	for _, from := range []ei.Pid{{Node: "eve@test", ID: 1, Creation: 1}, there.Pid()} {
		for _, op := range []dist.Op{dist.OpLink, dist.OpMonitorP, dist.OpSpawnRequest} {
			p := w.peer(b.Listeners()[0], role("wire@test"))
			c := w.conn(b, "wire@test")
			ctl := dist.Control{Op: op, From: from, To: there.Pid(), Ref: ei.Ref{Node: "eve@test", Creation: 1, Len: 1}}
			var payload ei.Term
			if op == dist.OpSpawnRequest {
				ctl.GroupLeader, ctl.Module, ctl.Function, ctl.Options, payload = from, "m", "f", ei.AppendNil(nil), ei.List{}
			}
			p.Send(ctl, payload)
			require.ErrorIs(t, ended(t, c), protocol.ErrShape)
			p.Gone()
			<-c.l.Left()
		}
	}
	require.Empty(t, linksOf(there))
	require.Empty(t, watchersOf(there))
}

// A signal that ends a link or a monitor counts only if it comes from the node of the process that
// has the link or monitor.
func TestForeignEndOfLinkDoesNotCount(t *testing.T) {
	w := newWorld(t, "memory")
	alice, b := w.started("alice"), w.started("bob")
	here, there, trap := box(t, alice), box(t, b), trapping(t, b)
	require.NoError(t, here.Link(w.ctx(), there.Pid()))
	require.NoError(t, here.Link(w.ctx(), trap.Pid()))
	ref := monitor(t, here, there.Pid())
	watching := monitor(t, there, here.Pid())
	settle(t, here, there)
	eve := w.peer(b.Listeners()[0], role("eve@test"))
	reason := encode(t, ei.Atom("gone"))
	for _, from := range []ei.Pid{here.Pid(), there.Pid(), eve.Self} {
		eve.Send(dist.Control{Op: dist.OpExit, From: from, To: there.Pid(), Reason: reason}, nil)
		eve.Send(dist.Control{Op: dist.OpExit, From: from, To: trap.Pid(), Reason: reason}, nil)
		if from != eve.Self {
			eve.Send(dist.Control{Op: dist.OpExit2, From: from, To: there.Pid(), Reason: reason}, nil)
		}
		eve.Send(dist.Control{Op: dist.OpUnlinkID, ID: 5, From: from, To: there.Pid()}, nil)
		eve.Send(dist.Control{Op: dist.OpUnlink, From: from, To: there.Pid()}, nil)
		eve.Send(dist.Control{Op: dist.OpDemonitorP, From: from, To: there.Pid(), Ref: ref}, nil)
		eve.Send(dist.Control{Op: dist.OpMonitorPExit, From: from, To: there.Pid(), Ref: watching, Reason: reason}, nil)
	}
	eve.Send(dist.Control{Op: dist.OpMonitorPExit, FromName: "name", To: there.Pid(), Ref: watching, Reason: reason}, nil)
	eve.Send(dist.Control{Op: dist.OpDemonitorP, From: eve.Self, ToName: "name", Ref: ref}, nil)
	eve.Send(dist.Control{Op: dist.OpMonitorP, From: eve.Self, To: there.Pid(), Ref: ref}, nil)
	eve.Send(dist.Control{Op: dist.OpSend, To: there.Pid()}, ei.Atom("done"))
	m := receive(t, there)
	require.Equal(t, dist.OpSend, m.Op, "%v", m)
	require.Zero(t, unread(trap))
	require.NotNil(t, b.Conn("eve@test"), "a fault that the connection survives")
	require.Positive(t, b.Stats().Malformed)
	require.Equal(t, map[bonds.MonitorID]bonds.Watcher{
		{Ref: ref, Node: here.Pid().Node}: {Pid: here.Pid()},
		{Ref: ref, Node: "eve@test"}:      {Pid: eve.Self}, // in addition to the first, not in its place
	}, watchersOf(there))
	require.Len(t, watchingOf(there), 1)
	require.Len(t, linksOf(there), 1)

	there.Exit(ei.Atom("enough"))
	require.Equal(t, ei.Atom("enough"), exited(t, here))
}
