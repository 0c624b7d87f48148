package transporttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// A stream is a transport.Stream as the suite uses it, which knows bytes only. Over a carrier that
// keeps packets, and may look into them, it makes the distribution's handshake first, and what is
// written goes in frames, with ticks between them.
type stream struct {
	*transport.Stream
	asked  sync.Once // HandshakePacketHeaderSize, which by the contract is asked once
	size   int
	err    error
	frames bool // the handshake is over; set before the stream is used

	reading sync.Mutex
	in      incoming
	written int // frames
}

// An incoming is what is known of the frame that is read.
type incoming struct {
	head []byte // what has come of its beginning
	left int    // bytes of the payload that are still to come
	end  bool   // the end of the packet is still to come
}

// asStream makes a stream of what an operation opens.
func asStream(s *transport.Stream, err error) (*stream, error) { return &stream{Stream: s}, err }

// headerSize asks for the size once.
func (s *stream) headerSize(ctx context.Context) (int, error) {
	s.asked.Do(func() { s.size, s.err = s.HandshakePacketHeaderSize(ctx) })
	return s.size, s.err
}

// What is said in a handshake. See erl_dist_protocol, "Distribution Handshake".
const (
	nameOf  = "\x00\x0bx@localhost"
	flags   = "\x00\x00\x00\x0d\x07\xdf\x7f\xbd"
	hello   = "N" + flags + "\x00\x00\x00\x05" + nameOf
	status  = "sok"
	asks    = "N" + flags + "\x12\x34\x56\x78\x00\x00\x00\x05" + nameOf
	answers = "r\x87\x65\x43\x210123456789abcdef"
	accepts = "afedcba9876543210"
)

// shake is an end's part of a handshake whose packets have no length, its hook included.
func (s *stream) shake(ctx context.Context, accepted bool, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	say := func(p string) error {
		_, err := s.Stream.Writev(ctx, []byte(p))
		return err
	}
	hear := func(p string) error {
		got := make([]byte, 4096)
		room, whole := [][]byte{got[:len(p)], got[len(p):]}, false
		n, err := s.ReadPDU(ctx, func() ([][]byte, error) {
			whole = len(room) == 1
			v := room[:1]
			room = room[1:]
			return v, nil
		})
		switch joined := strings.HasPrefix(string(got[:n]), p); {
		case err != nil && whole:
			return fmt.Errorf("all %d bytes of a packet have come, and not its end: Read returns ErrEndOfPacket with the last bytes, or alone: %w",
				len(p), err)
		case err != nil:
			return err
		case joined && n > int64(len(p)):
			return fmt.Errorf("in a packet of the handshake came %d bytes of the next one", n-int64(len(p)))
		case !joined:
			return fmt.Errorf("a packet of the handshake was written as %q and read as %q", p, got[:n])
		}
		return nil
	}
	dialogue := []struct {
		step func(string) error
		p    string
	}{{say, hello}, {hear, status}, {hear, asks}, {say, answers}, {hear, accepts}}
	if accepted {
		dialogue[0].step, dialogue[1].step, dialogue[2].step, dialogue[3].step, dialogue[4].step = hear, say, say, hear, say
	}
	for _, d := range dialogue {
		if err := d.step(d.p); err != nil {
			return fmt.Errorf("a handshake in packets: %w", err)
		}
	}
	s.frames = true
	return s.HandshakeComplete(ctx, !accepted)
}

// beforePayload is what comes before the payload of the suite's frames, without their length: a
// REG_SEND in pass-through form, of a binary whose size follows.
const beforePayload = "\x70\x83\x68\x04\x61\x06" + // {6, Pid, '', suite}
	"\x58\x77\x0bx@localhost\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05" + "\x77\x00" + "\x77\x05suite" +
	"\x83\x6d"

const (
	mostInFrame   = 40_000 // bytes of payload
	framesPerTick = 3
)

// Writev writes the buffers, in as many frames as it takes, and counts their bytes.
func (s *stream) Writev(ctx context.Context, v ...[]byte) (n int64, err error) {
	if !s.frames {
		return s.Stream.Writev(ctx, v...)
	}
	for len(v) > 0 {
		size := 0
		var frame [][]byte
		for len(v) > 0 && size < mostInFrame {
			k := min(len(v[0]), mostInFrame-size)
			frame = append(frame, v[0][:k])
			if size += k; k == len(v[0]) {
				v = v[1:]
			} else {
				v = append([][]byte{v[0][k:]}, v[1:]...)
			}
		}
		if s.written++; s.written%framesPerTick == 0 {
			if _, err := s.writeFrame(ctx, nil); err != nil {
				return n, err
			}
		}
		head := binary.BigEndian.AppendUint32([]byte(beforePayload), uint32(size))
		out, err := s.writeFrame(ctx, append([][]byte{head}, frame...))
		n += max(out-int64(len(head)), 0)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// writeFrame writes a frame, and counts its bytes.
func (s *stream) writeFrame(ctx context.Context, frame [][]byte) (int64, error) {
	if s.KeepsPackets() {
		return s.Stream.Writev(ctx, frame...)
	}
	size := 0
	for _, b := range frame {
		size += len(b)
	}
	n, err := s.Stream.Writev(ctx, append([][]byte{binary.BigEndian.AppendUint32(nil, uint32(size))}, frame...)...)
	return n - 4, err
}

// Read reads bytes of the next frame's payload.
func (s *stream) Read(ctx context.Context, p []byte) (int, error) {
	if !s.frames {
		return s.Stream.Read(ctx, p)
	}
	if !s.reading.TryLock() {
		return 0, transport.ErrBusy
	}
	defer s.reading.Unlock()
	in := &s.in
	for in.left == 0 {
		if err := s.begins(ctx); err != nil {
			return 0, err
		}
	}
	n, err := s.Stream.Read(ctx, p[:min(len(p), in.left)])
	in.left -= n
	switch {
	case err == transport.ErrEndOfPacket && in.left > 0:
		return n, fmt.Errorf("a packet ends %d bytes before its end", in.left)
	case err == transport.ErrEndOfPacket:
		return n, nil
	case err == io.EOF && s.KeepsPackets():
		return n, fmt.Errorf("in a packet, with %d bytes to come: %w", in.left, io.ErrUnexpectedEOF)
	}
	in.end = in.left == 0 && s.KeepsPackets()
	return n, err
}

// begins reads up to the next payload, or the end of a tick; a packet may still have to end.
func (s *stream) begins(ctx context.Context) error {
	in, before := &s.in, 0
	if !s.KeepsPackets() {
		before = 4
	}
	want := before + len(beforePayload) + 4
	if in.end {
		n, err := s.Stream.Read(ctx, make([]byte, 1))
		switch {
		case n > 0:
			return errors.New("a packet has more bytes than were written")
		case err != transport.ErrEndOfPacket:
			return err
		}
		in.end = false
	}
	if before > 0 && len(in.head) < before {
		want = before
	}
	p := make([]byte, want-len(in.head))
	n, err := s.Stream.Read(ctx, p)
	in.head = append(in.head, p[:n]...)
	switch {
	case err == transport.ErrEndOfPacket && len(in.head) == 0: // a tick
		return nil
	case err == transport.ErrEndOfPacket:
		return fmt.Errorf("a packet ends after %d bytes: % x", len(in.head), in.head)
	case err == io.EOF && len(in.head) > 0 && s.KeepsPackets(): // bytes may end anywhere
		return io.ErrUnexpectedEOF
	case err != nil || len(in.head) < want:
		return err
	case want == before:
		if binary.BigEndian.Uint32(in.head) == 0 {
			in.head = nil
		}
		return nil
	}
	head := in.head[before:]
	in.head = nil
	if !bytes.HasPrefix(head, []byte(beforePayload)) {
		return &difference{fmt.Sprintf("a frame was written as % x… and read as % x", beforePayload, head)}
	}
	in.left = int(binary.BigEndian.Uint32(head[len(beforePayload):]))
	return nil
}

// Readv fills the buffers.
func (s *stream) Readv(ctx context.Context, v ...[]byte) (n int64, err error) {
	if !s.frames {
		return s.Stream.Readv(ctx, v...)
	}
	for _, p := range v {
		for len(p) > 0 {
			k, err := s.Read(ctx, p)
			p, n = p[k:], n+int64(k)
			if err != nil && len(p) > 0 {
				return n, err
			}
		}
	}
	return n, nil
}

// boundaries writes packets of many sizes, and reads them whole and in parts.
func boundaries(t *trial) {
	client, server := t.connect(t.listen(0))
	if c, s := client.KeepsPackets(), server.KeepsPackets(); c != s {
		t.fail("packets are kept at the connecting end: %t, at the accepting one: %t", c, s)
	} else if !c {
		t.skip("it is a carrier of bytes: HandshakePacketHeaderSize and FrameHeaderSize are not both 0")
	}
	all := []int{1, 0, 2, 0, 0, 1000, 50, 70_000, 0, 3, 4096, 1}
	for _, w := range []way{{client, server}, {server, client}} {
		writing := begin(t, "Writev of packets", func() (none struct{}, _ error) {
			for i, size := range all {
				p := pattern(140+i).bytes(0, size)
				n, err := w.from.Stream.Writev(t.soon(), p[:size/3], p[size/3:])
				if err != nil || n != int64(size) {
					return none, fmt.Errorf("a packet of %d bytes counted %d: %w", size, n, orNone(err))
				}
				t.progress()
			}
			return none, nil
		})
		for i, size := range all {
			_, err := do(t, "a Read of a packet", func() (none struct{}, _ error) {
				return none, t.readPacket(w.to, pattern(140+i), size, i%2 == 0)
			})
			if err != nil {
				writing.endsWithin(t.s.patience / 2) // the packet may be wrong since the write of it fails
				t.caught(writing.failed())
				t.fail("of packets of %v bytes the one of number %d, of %d: %w", all, i, size, err)
			}
		}
		_, err := writing.end()
		t.must(err, "Writev of packets")
	}
}

// readPacket reads a packet of size bytes of a pattern, by ReadPDU with more room than that, or by
// Reads with less.
func (t *trial) readPacket(from *stream, want pattern, size int, whole bool) error {
	got, ctx := make([]byte, size+100), t.soon()
	n := 0
	if whole {
		k, err := from.ReadPDU(ctx, func() ([][]byte, error) { return [][]byte{got}, nil })
		if n = int(k); err != nil {
			return err
		}
	}
	for over := whole; !over; {
		k, err := from.Stream.Read(ctx, got[n:][:min(size/3+1, len(got)-n)])
		n += k
		if over = err == transport.ErrEndOfPacket; err != nil && !over {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		if n > size {
			break
		}
		t.progress()
	}
	if n != size {
		return fmt.Errorf("it came as %d bytes: a Read gives bytes of one packet only, and ErrEndOfPacket with the last of them", n)
	}
	return want.differs(0, got[:n])
}
