package workers

import (
	"context"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/dist/packets"
	"github.com/cnode-go/cnode/transport"
)

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

// A wire is a peer played by the test: a handshake, if any, then bytes.
type wire struct {
	t    testing.TB
	s    *transport.Stream
	peer dist.Peer
	self ei.Pid

	reader *dist.Reader
}

// role is how a wire presents itself.
func role(name string) dist.Self {
	return dist.Self{Name: name, Cookie: "secret", Creation: 77, Challenge: 4711, Flags: dist.FlagsDefault}
}

// wire connects to a node that listens, with no byte said yet.
func (w *world) wire(l *nodes.Listener) *wire {
	w.t.Helper()
	s, err := w.tr.Connect(w.ctx(), l.Addr())
	require.NoError(w.t, err)
	w.t.Cleanup(func() { s.Close() })
	return &wire{t: w.t, s: s}
}

// peer connects to a node that listens and does the handshake.
func (w *world) peer(l *nodes.Listener, self dist.Self) *wire {
	w.t.Helper()
	p := w.wire(l)
	require.NoError(w.t, p.initiate(self))
	return p
}

func (p *wire) initiate(self dist.Self) error {
	c, err := packets.New(soon(p.t), p.s)
	require.NoError(p.t, err)
	p.peer, err = dist.Initiate(c, self, dist.InitiateOptions{})
	p.self = ei.Pid{Node: ei.Atom(self.Name), ID: 1, Creation: self.Creation}
	return err
}

// frame is a whole pass-through frame.
func frame(t testing.TB, ctl dist.Control, payload ei.Term) []byte {
	t.Helper()
	var raw ei.Raw
	if payload != nil {
		raw = encode(t, payload)
	}
	b, err := dist.AppendFrame(nil, &ctl, raw)
	require.NoError(t, err)
	return b
}

func (p *wire) write(b []byte) error {
	if p.s.KeepsPackets() {
		_, err := p.s.Posts(&queue.Options{Frames: true}).Deliver(soon(p.t), b)
		return err
	}
	_, err := p.s.Writev(soon(p.t), b)
	return err
}

func (p *wire) send(ctl dist.Control, payload ei.Term) {
	p.t.Helper()
	require.NoError(p.t, p.write(frame(p.t, ctl, payload)))
}

// frame reads the next frame's body; a tick has none.
func (p *wire) frame(ctx context.Context) ([]byte, error) {
	if p.s.KeepsPackets() {
		var body []byte
		n, err := p.s.ReadPDU(ctx, func() ([][]byte, error) {
			n := len(body)
			body = append(body, make([]byte, n+1000)...)
			return [][]byte{body[n:]}, nil
		})
		return body[:n], err
	}
	var head [4]byte
	if _, err := p.s.Readv(ctx, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if len(body) == 0 {
		return body, nil
	}
	_, err := p.s.Readv(ctx, body)
	return body, err
}

// next reads the next control message, past ticks.
func (p *wire) next() (ctl dist.Control, payload ei.Term) {
	p.t.Helper()
	for {
		body, err := p.frame(soon(p.t))
		require.NoError(p.t, err)
		if len(body) == 0 {
			continue
		}
		ctl, raw, ok := p.parse(body)
		switch {
		case !ok:
			continue
		case raw == nil:
			return ctl, nil
		}
		payload, err := raw.Decode()
		require.NoError(p.t, err)
		return ctl, payload
	}
}

// parse reads a frame; false: fragments of the message are still to come.
func (p *wire) parse(body []byte) (ctl dist.Control, payload ei.Raw, ok bool) {
	p.t.Helper()
	if p.reader == nil {
		p.reader = dist.NewReader(p.peer.Flags, dist.Limits{}, nil)
	}
	a, err := p.reader.ReadFrame(body, &ctl)
	require.NoError(p.t, err)
	if !a.Complete {
		return ctl, nil, false
	}
	payload, err = a.Whole(nil, 1<<30)
	require.NoError(p.t, err)
	return ctl, payload, true
}

// gone waits until the node has closed the connection.
func (p *wire) gone() {
	p.t.Helper()
	var b [4096]byte
	for {
		if _, err := p.s.Read(soon(p.t), b[:]); err != nil {
			require.NotErrorIs(p.t, err, context.DeadlineExceeded)
			return
		}
	}
}

func (p *wire) close() { p.s.Close() }
