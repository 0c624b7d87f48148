// Package packets carries the packets of a distribution handshake over a transport.Stream: the
// protocol.PacketConn with which protocol.Initiate and protocol.Respond speak to a peer.
package packets

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/transport"
)

// A Conn is the protocol.PacketConn of a stream: packets with their length before each, in as many
// bytes as the carrier's plug-in says (transport.Callbacks.HandshakePacketHeaderSize), or alone
// where the carrier keeps packets. A Conn reads no byte beyond a packet, so the stream can be used
// when the handshake is over. It is for one goroutine at a time.
type Conn struct {
	// Spoke is called for each packet that was read. Nil: nobody is.
	Spoke func()

	ctx  context.Context
	s    *transport.Stream
	q    queue.Queue
	size int       // of the length; 0: there is none
	head [4]byte   // its last size bytes are the length
	body []byte    // of the packet read last
	vec  [1][]byte // what is read next
	step int
}

// New makes a Conn. It may wait, as its plug-in's callback does. All reads and writes of the Conn
// end with ctx, and have its cause for an error then.
func New(ctx context.Context, s *transport.Stream) (*Conn, error) {
	size, err := s.HandshakePacketHeaderSize(ctx)
	if err != nil {
		return nil, err
	}
	return &Conn{ctx: ctx, s: s, q: s.Posts(nil), size: size}, nil
}

// Wire gives the packet that was read last as it came, its length before it: for one who passes a
// connection on with what has been read of it.
func (p *Conn) Wire() []byte {
	return append(append(make([]byte, 0, p.size+len(p.body)), p.head[4-p.size:]...), p.body...)
}

// ReadPacket reads one packet, which is valid until the next call. One of more than
// protocol.MaxHandshakePacket bytes is dist.ErrMalformed.
func (p *Conn) ReadPacket() ([]byte, error) {
	p.step = 0
	n, err := p.s.ReadPDU(p.ctx, p.next)
	if err != nil {
		return nil, p.cause(err)
	}
	if p.size == 0 {
		p.body = p.body[:n]
	}
	if p.Spoke != nil {
		p.Spoke()
	}
	return p.body, nil
}

func (p *Conn) next() ([][]byte, error) {
	switch p.step++; {
	case p.size == 0 && p.step == 1: // more room than a packet may take
		p.body = make([]byte, protocol.MaxHandshakePacket+1)
		p.vec[0] = p.body
		return p.vec[:], nil
	case p.size == 0:
		return nil, fmt.Errorf("%w: packet of more than %d bytes", dist.ErrMalformed, protocol.MaxHandshakePacket)
	case p.step == 1:
		p.vec[0] = p.head[4-p.size:]
		return p.vec[:], nil
	case p.step == 2:
		n := binary.BigEndian.Uint32(p.head[:])
		if n > protocol.MaxHandshakePacket {
			// the first bytes of a record with a hello, or an alert
			if p.size == 2 && (n == 0x1603 || n == 0x1503) {
				return nil, fmt.Errorf("%w: the peer speaks TLS, and this connection does not", dist.ErrMalformed)
			}
			return nil, fmt.Errorf("%w: packet of %d bytes", dist.ErrMalformed, n)
		}
		p.body = make([]byte, n)
		p.vec[0] = p.body
		return p.vec[:], nil
	}
	return nil, nil
}

// WritePackets writes packets in one write, or in one each where the carrier keeps packets.
func (p *Conn) WritePackets(ps ...[]byte) error {
	var b []byte
	for _, q := range ps {
		switch {
		case p.size == 0:
			if err := p.write(q); err != nil {
				return err
			}
			continue
		case p.size == 4:
			b = binary.BigEndian.AppendUint32(b, uint32(len(q)))
		case len(q) > math.MaxUint16:
			return fmt.Errorf("%w: packet of %d bytes", dist.ErrMalformed, len(q))
		default:
			b = binary.BigEndian.AppendUint16(b, uint16(len(q)))
		}
		b = append(b, q...)
	}
	if len(b) == 0 {
		return nil
	}
	return p.write(b)
}

func (p *Conn) write(b []byte) error {
	_, err := p.q.Deliver(p.ctx, b)
	return p.cause(err)
}

// cause replaces err by the cause for which ctx ended, if it did.
func (p *Conn) cause(err error) error {
	if err != nil && p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	return err
}
