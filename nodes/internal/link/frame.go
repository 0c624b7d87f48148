package link

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes/dist"
)

const (
	// trustedFrame is how many bytes of memory a frame gets for the length that the peer claims,
	// before any of it has come; beyond that it gets as much again as has come.
	trustedFrame = 4 << 20
	// frameStep is the size, in bytes, of the steps in which a large frame is read: each is a sign
	// of life of a peer behind a slow line.
	frameStep = 256 << 10
	// placedFrame is the size, in bytes, of frames worth a look whether they are fragments. Erlang
	// nodes send fragments of 64 KiB.
	placedFrame = 32 << 10
	// firstRoom is how many bytes of a frame without a length are read before the message gets a
	// buffer: most frames are shorter, and their buffer has their size.
	firstRoom = 1 << 10
	// atomTable bounds the atoms that a connection remembers.
	atomTable = 1024
	// mostControl is how much longer, in bytes, than Config.MaxFrame a frame between workers may
	// be: a payload of that size may have come in fragments, which has the control message before
	// it here.
	mostControl = 64 << 10
)

// A reader reads the frames of one connection. turn is its token: whoever holds it reads.
type reader struct {
	turn chan struct{}
	dist *protocol.Reader         // made with the first message
	next func() ([][]byte, error) // for ReadPDU, made once
	came func()                   // tells the ticker of a message, or of a part of it

	arrival protocol.Arrival // of the last message: see Memory.arrival

	// The frame in progress.
	m     *Memory
	max   int
	head  [4]byte
	stage int // how much of it has been asked for: see frameStart
	need  int // its length in bytes
	have  int // buffers handed out, in bytes
	vec   [1][]byte
	// The head of a fragment. What follows the head is read straight to its place in the message.
	fragment [protocol.FragmentHeadSize]byte
	place    []byte
	first    []byte // where a frame without a length begins, over a carrier that keeps packets; nil: it has a length

	held int // bytes of incomplete messages, as counted in Env.Incomplete

	steps atomic.Int64 // of large frames that have come, ever: signs of life

	passing atomic.Pointer[passing] // in progress, or the last one
}

func (r *reader) init(c *Conn) {
	r.turn = make(chan struct{}, 1)
	if r.max = c.env.MaxFrame; c.inner {
		r.max += mostControl
	}
	r.next, r.came = r.nextVector, func() { c.ticks.flows(c) }
	if c.s.KeepsPackets() {
		r.next, r.first = r.nextRoom, make([]byte, firstRoom)
	}
}

func (r *reader) readFrame(in In) (protocol.Arrival, error) {
	if r.place != nil {
		return r.dist.ReadPlaced(r.fragment[:], r.place, in.Control)
	}
	return r.dist.ReadFrame(in.Memory.buf, in.Control)
}

func (r *reader) newReader(flags dist.Flags) *protocol.Reader {
	limits := protocol.Limits{Message: r.max, Incomplete: math.MaxInt} // see countIncomplete
	d := protocol.NewReader(flags, limits, ei.NewAtomTable(atomTable))
	d.LeaveRefs()
	d.SetAlloc(func(n int) []byte {
		m := r.m
		if m == nil { // a message that another process has begun
			return make([]byte, n)
		}
		b := m.wholeBuffer(n)
		m.whole = nil // it is the incomplete message's now
		return b
	})
	return d
}

// The parts of a frame.
const (
	frameStart = iota
	frameHead
	frameFragment
	frameBody
)

// nextVector hands ReadPDU the parts of one frame: its length, then its body straight into the
// message's buffer; or, of a large fragment, its head, and then the piece of the message that it
// brings straight into the place of that.
func (r *reader) nextVector() ([][]byte, error) {
	switch r.stage {
	case frameStart:
		r.stage, r.vec[0] = frameHead, r.head[:]
		return r.vec[:], nil
	case frameHead:
		n := binary.BigEndian.Uint32(r.head[:])
		if uint64(n) > uint64(r.max) {
			return nil, r.tooLong(int64(n))
		}
		r.stage, r.need, r.have, r.place = frameBody, int(n), 0, nil
		if n >= placedFrame && n <= frameStep && r.dist != nil && r.dist.Open() > 0 {
			r.stage, r.vec[0] = frameFragment, r.fragment[:]
			return r.vec[:], nil
		}
	case frameFragment:
		r.stage = frameBody
		if r.place = r.dist.Place(r.fragment[:], r.need-len(r.fragment)); r.place != nil {
			r.vec[0], r.have = r.place, r.need
			return r.vec[:], nil
		}
		if cap(r.m.buf) < len(r.fragment) {
			r.m.buf = r.m.grow(min(r.need, trustedFrame))
		}
		r.m.buf = append(r.m.buf[:0], r.fragment[:]...)
		r.have = len(r.fragment)
	}
	if r.have == r.need {
		return nil, nil
	}
	if r.have > 0 {
		r.steps.Add(1)
		r.came()
	}
	buf := r.m.buf[:r.have]
	size := min(r.need, r.have+frameStep)
	if size > cap(buf) {
		room := min(r.need, max(trustedFrame, 2*r.have)) // more when this much has come
		buf = append(r.m.grow(room)[:0], buf...)
	}
	r.m.buf = buf[:size]
	r.vec[0] = r.m.buf[r.have:]
	r.have = size
	return r.vec[:], nil
}

// nextRoom hands ReadPDU room for one frame without a length, which ends with its packet.
func (r *reader) nextRoom() ([][]byte, error) {
	if r.stage == frameStart {
		r.stage, r.have, r.vec[0] = frameBody, len(r.first), r.first
		return r.vec[:], nil
	}
	if r.have > r.max {
		return nil, r.tooLong(int64(r.have))
	}
	if r.have >= frameStep {
		r.steps.Add(1)
		r.came()
	}
	buf := r.m.buf[:cap(r.m.buf)]
	if len(buf) <= r.have {
		buf = r.m.grow(2 * r.have)
		copy(buf, r.m.buf)
	}
	if r.have == len(r.first) {
		copy(buf, r.first)
	}
	r.m.buf = buf[:min(len(buf), r.have+frameStep)]
	r.vec[0] = r.m.buf[r.have:]
	r.have = len(r.m.buf)
	return r.vec[:], nil
}

// takePacket makes a packet of n bytes, for which nextRoom has handed out room, the message's
// frame.
func (r *reader) takePacket(n int) error {
	if r.need = n; n > r.max {
		return r.tooLong(int64(n))
	}
	if n > len(r.first) {
		r.m.buf = r.m.buf[:n]
		return nil
	}
	if cap(r.m.buf) < n {
		r.m.buf = r.m.grow(n)
	}
	r.m.buf = append(r.m.buf[:0], r.first[:n]...)
	return nil
}

func (r *reader) tooLong(n int64) error {
	return fmt.Errorf("%w: %d bytes, Config.MaxFrame is %d", ErrFrameTooLong, n, r.max)
}

// discard gives the memory of incomplete messages back; the caller holds the token.
func (r *reader) discard(c *Conn) {
	c.env.Incomplete.Give(c.peer.Name, r.held)
	r.held, r.dist = 0, nil
}
