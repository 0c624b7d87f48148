// Package rawpeer plays a node that the test itself is: a handshake, if any, then frames.
package rawpeer

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/protocol/packets"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// A Peer is one end of a connection, played by the test.
type Peer struct {
	T    testing.TB
	S    *transport.Stream
	Node dist.Peer // at the other end
	Self ei.Pid

	reader *protocol.Reader
}

// Role is how a Peer presents itself.
func Role(name string) protocol.Self {
	return protocol.Self{Name: name, Cookie: "secret", Creation: 77, Challenge: 4711, Flags: dist.FlagsDefault}
}

// NamePacket is the first packet of a peer's.
func NamePacket(t testing.TB, self protocol.Self) []byte {
	t.Helper()
	b, err := protocol.AppendName(nil, protocol.Name{Version: dist.Version6, Flags: self.Flags, Creation: self.Creation, Name: self.Name})
	require.NoError(t, err)
	return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
}

// Initiate does the handshake as the node that has connected.
func (p *Peer) Initiate(self protocol.Self) error {
	c, err := packets.New(expect.Context(p.T), p.S)
	require.NoError(p.T, err)
	p.Node, err = protocol.Initiate(c, self, protocol.InitiateOptions{})
	p.Self = ei.Pid{Node: ei.Atom(self.Name), ID: 1, Creation: self.Creation}
	return err
}

// Respond does the handshake as the node that is connected to.
func (p *Peer) Respond(self protocol.Self, status dist.Status) error {
	c, err := packets.New(expect.Context(p.T), p.S)
	require.NoError(p.T, err)
	name, err := protocol.ReadName(c)
	if err != nil {
		return err
	}
	p.Node, err = protocol.Respond(c, self, name, protocol.RespondOptions{
		Decide: func(protocol.Name) (protocol.Verdict, error) { return protocol.Verdict{Status: status}, nil },
	})
	p.Self = ei.Pid{Node: ei.Atom(self.Name), ID: 1, Creation: self.Creation}
	return err
}

// Frame is a whole pass-through frame.
func Frame(t testing.TB, ctl dist.Control, payload ei.Term) []byte {
	t.Helper()
	var raw ei.Raw
	if payload != nil {
		var err error
		raw, err = ei.AppendTerm(nil, payload)
		require.NoError(t, err)
	}
	b, err := protocol.AppendFrame(nil, &ctl, raw)
	require.NoError(t, err)
	return b
}

// Framed puts a length before a body, whatever it is.
func Framed(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// Write writes whole frames, or parts of them where the carrier has a stream.
func (p *Peer) Write(b []byte) error {
	if p.S.KeepsPackets() {
		_, err := p.S.Posts(&queue.Options{Frames: true}).Deliver(expect.Context(p.T), b)
		return err
	}
	_, err := p.S.Writev(expect.Context(p.T), b)
	return err
}

// Send sends a message.
func (p *Peer) Send(ctl dist.Control, payload ei.Term) {
	p.T.Helper()
	require.NoError(p.T, p.Write(Frame(p.T, ctl, payload)))
}

// Say sends a term to a registered name.
func (p *Peer) Say(name string, payload ei.Term) {
	p.T.Helper()
	p.Send(dist.Control{Op: dist.OpRegSend, From: p.Self, ToName: ei.Atom(name)}, payload)
}

// ReadFrame reads the next frame's body; a tick has none.
func (p *Peer) ReadFrame(ctx context.Context) ([]byte, error) {
	if p.S.KeepsPackets() {
		var body []byte
		n, err := p.S.ReadPDU(ctx, func() ([][]byte, error) {
			n := len(body)
			body = append(body, make([]byte, n+1000)...)
			return [][]byte{body[n:]}, nil
		})
		return body[:n], err
	}
	var head [4]byte
	if _, err := p.S.Readv(ctx, head[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if len(body) == 0 {
		return body, nil
	}
	_, err := p.S.Readv(ctx, body)
	return body, err
}

// Next reads the next control message, past ticks.
func (p *Peer) Next() (ctl dist.Control, payload ei.Term) {
	p.T.Helper()
	for {
		body, err := p.ReadFrame(expect.Context(p.T))
		require.NoError(p.T, err)
		if len(body) == 0 {
			continue
		}
		ctl, raw, ok := p.Parse(body)
		switch {
		case !ok:
			continue
		case raw == nil:
			return ctl, nil
		}
		payload, err := raw.Decode()
		require.NoError(p.T, err)
		return ctl, payload
	}
}

// Parse reads a frame; false: fragments of the message are still to come.
func (p *Peer) Parse(body []byte) (ctl dist.Control, payload ei.Raw, ok bool) {
	p.T.Helper()
	if p.reader == nil {
		p.reader = protocol.NewReader(p.Node.Flags, protocol.Limits{}, nil)
	}
	a, err := p.reader.ReadFrame(body, &ctl)
	require.NoError(p.T, err)
	if !a.Complete {
		return ctl, nil, false
	}
	payload, err = a.Whole(nil, 1<<30)
	require.NoError(p.T, err)
	return ctl, payload, true
}

// Gone waits until the node has closed the connection.
func (p *Peer) Gone() {
	p.T.Helper()
	var b [4096]byte
	for {
		if _, err := p.S.Read(expect.Context(p.T), b[:]); err != nil {
			require.NotErrorIs(p.T, err, context.DeadlineExceeded)
			return
		}
	}
}

// Close ends the connection.
func (p *Peer) Close() { p.S.Close() }
