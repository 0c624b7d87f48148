package nodes

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// What one sends over a connection keeps its order, with a name or without one, although a large
// message for whose end nobody has waited is still under way.
func TestFragmentsKeepOrder(t *testing.T) {
	w := newWorld(t, "memory")
	p, c := w.ambush("wire@test").meet(w.node("alice"))
	to := ei.Pid{Node: "wire@test", ID: 1, Creation: 4711}
	large := ei.Binary(make([]byte, 1<<20))
	require.NoError(t, c.Send(transport.NoWait(), to, large))
	require.NoError(t, c.SendName(w.ctx(), "name", ei.Int(1)))
	require.NoError(t, c.SendName(transport.NoWait(), "name", large))
	require.NoError(t, c.Send(w.ctx(), to, ei.Int(2)))
	for i, want := range []ei.Term{large, ei.Int(1), large, ei.Int(2)} {
		_, got := p.Next()
		require.Equal(t, want, got, "message %d", i)
	}
}

// The end of a server does not overtake its reply.
func TestDownFollowsReply(t *testing.T) {
	watcher := ei.Pid{Node: "wire@test", ID: 1, Creation: 4711}
	ref := ei.Ref{Node: "wire@test", Creation: 4711, Len: 3, ID: [5]uint32{1, 2, 3}}
	for name, tag := range map[string]ei.Term{"ref": ref, "alias": ei.ImproperList{Elems: []ei.Term{ei.Atom("alias")}, Tail: ref}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "memory")
			n := w.started("alice")
			p, _ := w.ambush("wire@test").meet(n)
			b := registered(t, n, "server")
			p.Send(dist.Control{Op: dist.OpMonitorP, From: watcher, To: b.Pid(), Ref: ref}, nil)
			p.Say("server", ei.Tuple{ei.Atom("$gen_call"), ei.Tuple{watcher, tag}, ei.Atom("request")})
			m := receive(t, b)
			call, ok := b.CallOf(m)
			require.True(t, ok)
			require.NoError(t, call.Reply(transport.NoWait(), ei.Binary(make([]byte, 1<<20))))
			b.Close()
			reply, _ := p.Next()
			require.NotEqual(t, dist.OpPayloadMonitorPExit, reply.Op)
			require.Equal(t, b.Pid(), reply.From)
			down, _ := p.Next()
			require.Equal(t, dist.OpPayloadMonitorPExit, down.Op)
		})
	}
}

// The end of a process does not overtake what it has sent, whether its watcher knows it by its pid
// or by its name.
func TestDownFollowsFragments(t *testing.T) {
	for name, by := range map[string]func(ctl *dist.Control, b *Mailbox){
		"pid":  func(ctl *dist.Control, b *Mailbox) { ctl.To = b.Pid() },
		"name": func(ctl *dist.Control, _ *Mailbox) { ctl.ToName = "server" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "memory")
			n := w.started("alice")
			p, _ := w.ambush("wire@test").meet(n)
			b := registered(t, n, "server")
			watcher := ei.Pid{Node: "wire@test", ID: 1, Creation: 4711}
			ctl := dist.Control{Op: dist.OpMonitorP, From: watcher, Ref: ei.Ref{Node: "wire@test", Creation: 4711, Len: 3, ID: [5]uint32{1, 2, 3}}}
			by(&ctl, b)
			p.Send(ctl, nil)
			p.Say("server", ei.Atom("hello"))
			receive(t, b)

			large := ei.Binary(make([]byte, 1<<20))
			require.NoError(t, b.Send(transport.NoWait(), watcher, large))
			b.Close()
			_, got := p.Next()
			require.Equal(t, large, got)
			down, _ := p.Next()
			require.Equal(t, ctl.ToName, down.FromName)
			require.Equal(t, ctl.To, down.From)
			require.Equal(t, ctl.Ref, down.Ref)
		})
	}
}

// A message that is used again, or given back, holds what has come last, in whatever form: payloads
// with references or without them, in fragments or in one frame.
func TestPayloadsOfAllForms(t *testing.T) {
	forms := func(p *wire) (frames []byte, want []ei.Term) {
		to, sent := dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: "name"}, protocol.SentAtoms{}
		for i := range 12 {
			for _, payload := range []ei.Term{ei.Int(i), longAtoms(1 + i*50), ei.Binary(bytes.Repeat([]byte{byte(i)}, 10_000*i))} {
				for _, fragment := range []int{0, 1000} {
					want = append(want, payload)
					frames = append(frames, packed(t, &sent, &to, encode(t, payload), fragment)...)
				}
			}
		}
		return frames, want
	}
	t.Run("used again", func(t *testing.T) {
		w := newWorld(t, "tcp")
		p, c := w.ambush("wire@test").meet(w.node("alice"))
		frames, want := forms(p)
		written := async(func() (struct{}, error) { return struct{}{}, p.Write(frames) })
		var m Message
		for i := range want {
			require.NoError(t, c.ReceiveInto(w.ctx(), &m))
			require.Equal(t, want[i], content(t, &m), "message %d", i)
		}
		require.NoError(t, (<-written).err)
	})
	t.Run("given back", func(t *testing.T) {
		w := newWorld(t, "tcp")
		n := w.started("alice")
		p, _ := w.ambush("wire@test").meet(n)
		b := registered(t, n, "name")
		frames, want := forms(p)
		written := async(func() (struct{}, error) { return struct{}{}, p.Write(frames) })
		var kept []*Message
		for i := range want {
			m := receive(t, b)
			kept = append(kept, m)
			if i%3 == 2 { // some live on while others' memory is used again
				m = kept[0]
				require.Equal(t, want[i+1-len(kept)], content(t, m))
				m.Release()
				kept = kept[1:]
			}
		}
		require.NoError(t, (<-written).err)
	})
}

// A payload that would become too large in its whole form ends the connection, and so does one that
// is too large in fragments; and what is incomplete at the end is counted no more.
func TestPayloadsTooLarge(t *testing.T) {
	const most = 1 << 20
	for name, tt := range map[string]struct {
		payload  ei.Term
		fragment int
	}{
		"in its whole form":               {longAtoms(most / 1000), 0},
		"in fragments, in its whole form": {longAtoms(most / 1000), 500},
		"in fragments":                    {ei.Binary(make([]byte, most)), 40_000},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "tcp")
			n := w.started("alice", func(cfg *Config) { cfg.MaxFrame = most })
			require.NoError(t, n.Register(t.Context(), "name", box(t, n)))
			p, c := w.ambush("wire@test").meet(n)
			to := sayFrom(1, "name")
			require.NoError(t, p.writes(cut(t, 77, to, ei.Binary(make([]byte, 100_000)), 10)[:5]...))
			require.Eventually(t, func() bool { return n.links.Incomplete.Held() > 40_000 }, tooLong, tick)
			_ = p.Write(packed(t, new(protocol.SentAtoms), &to, encode(t, tt.payload), tt.fragment)) // it ends meanwhile
			arrives(t, c.l.Left(), "the end")
			require.ErrorIs(t, c.Err(), ErrFrameTooLong)
			require.Zero(t, n.links.Incomplete.Held())
		})
	}
}

// Each of the two flags by itself, both and neither: with either one frames have headers, atoms are
// named with that of the cache only, and large messages come in fragments with theirs only.
func TestHeadersFollowTheFlags(t *testing.T) {
	const cache, fragments = dist.FlagDistHdrAtomCache, dist.FlagFragments
	large := ei.Tuple{ei.Atom("large"), ei.Binary(make([]byte, 300_000))}
	for name, flags := range map[string]dist.Flags{"neither": 0, "cache": cache, "fragments": fragments, "both": cache | fragments} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "memory")
			n := w.started("alice")
			there := w.ambush("wire@test")
			connected := async(func() (*Conn, error) { return n.Connect(w.ctx(), there.name) })
			p := there.accept()
			self := role("wire@test")
			self.Flags = self.Flags&^(cache|fragments) | flags
			require.NoError(t, p.Respond(self, protocol.StatusOK))
			r := (<-connected).must(t)
			b := registered(t, n, "box")
			forms := map[byte]bool{}
			sends := async(func() (int, error) {
				for _, term := range []ei.Term{ei.Atom("small"), ei.Atom("small"), large} {
					if err := b.Send(w.ctx(), p.Self, term); err != nil {
						return 0, err
					}
				}
				return 0, b.Link(w.ctx(), p.Self)
			})
			named := 0
			for came := 0; came < 4; {
				body := of(p.ReadFrame(soon(t))).must(t)
				if len(body) == 0 {
					continue
				}
				if form := body[min(1, len(body)-1)]; body[0] == 131 {
					forms[form] = true
					if form == wholeFrame {
						named += int(body[2])
					}
				} else {
					forms[body[0]] = true
				}
				if _, _, whole := p.Parse(body); whole {
					came++
				}
			}
			require.NoError(t, arrives(t, sends, "what is sent").err)
			want := map[byte]bool{'p': flags == 0, wholeFrame: flags != 0, firstPart: flags&fragments != 0, nextPart: flags&fragments != 0}
			for form, due := range want {
				require.Equal(t, due, forms[form], "%c", form)
			}
			require.Equal(t, flags&cache != 0, named > 0)

			if flags != 0 {
				to := sayFrom(1, "box")
				said := encode(t, ei.Atom("said"))
				frames := [][]byte{bytes.Join([][]byte{{131, wholeFrame, 0}, control(t, to), said}, nil)}
				if flags&fragments != 0 {
					frames = append(frames, cut(t, 7, to, ei.Atom("said"), 3)...)
				}
				if flags&cache != 0 {
					frames = append(frames, packed(t, new(protocol.SentAtoms), &to, said, 0)[4:])
				}
				require.NoError(t, p.writes(frames...))
				for range 1 + min(flags&fragments, 1) + min(flags&cache, 1) {
					require.Equal(t, ei.Atom("said"), term(t, b))
				}
			}
			require.NoError(t, r.Err())
		})
	}
}
