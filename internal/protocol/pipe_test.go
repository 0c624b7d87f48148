package protocol

import (
	"io"
	"sync"
)

// packetPipe is one of two joined PacketConns. After one end is closed, the
// other reads what was written, then io.EOF, as from a closed connection.
type packetPipe struct {
	in, out *packetQueue
	writes  int    // calls of WritePackets
	spy     func() // called before each read, if set
}

type packetQueue struct {
	mu      sync.Mutex
	changed *sync.Cond
	packets [][]byte
	closed  bool
}

func newPacketPipe() (a, b *packetPipe) {
	x, y := newPacketQueue(), newPacketQueue()
	return &packetPipe{in: x, out: y}, &packetPipe{in: y, out: x}
}

func newPacketQueue() *packetQueue {
	q := &packetQueue{}
	q.changed = sync.NewCond(&q.mu)
	return q
}

func (p *packetPipe) ReadPacket() ([]byte, error) {
	if p.spy != nil {
		p.spy()
	}
	q := p.in
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.packets) == 0 && !q.closed {
		q.changed.Wait()
	}
	if len(q.packets) == 0 {
		return nil, io.EOF
	}
	packet := q.packets[0]
	q.packets = q.packets[1:]
	return packet, nil
}

func (p *packetPipe) WritePackets(packets ...[]byte) error {
	q := p.out
	q.mu.Lock()
	defer q.mu.Unlock()
	p.writes++
	if q.closed {
		return io.ErrClosedPipe
	}
	for _, packet := range packets {
		q.packets = append(q.packets, append([]byte(nil), packet...))
	}
	q.changed.Broadcast()
	return nil
}

func (p *packetPipe) Close() {
	for _, q := range []*packetQueue{p.in, p.out} {
		q.mu.Lock()
		q.closed = true
		q.changed.Broadcast()
		q.mu.Unlock()
	}
}
