package virtual

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/pcap"
)

// flowKey identifies a connection, and is the same from either end.
type flowKey struct{ low, high netip.AddrPort }

// What transport.Stream.Origin tells of those that this end did not connect.
const (
	accepted = "accepted"
	imported = "imported"
)

// The directions of a flow.
const (
	outward = iota // what is written
	inward         // what is read
)

// A flow is one TCP connection of the file. Its methods do nothing for a nil flow, or for a stream
// that is not its owner. Guarded by Capture.mu.
type flow struct {
	c       *Capture
	key     flowKey
	owner   *traced           // whose calls are recorded
	ends    [2]netip.AddrPort // ours, the peer's
	next    [2]uint32         // sequence numbers
	ended   [2]bool           // FIN is sent
	over    bool
	ahead   int64     // bytes of the write in flight that are in the file already
	shaking [2]bool   // a handshake of the Erlang distribution may be going on
	part    [2][]byte // the beginning of a packet of that handshake, which has not come whole
}

// firstStep is between the first sequence numbers of one flow and the next. With the same ones,
// Wireshark takes a later connection between the same ends for a retransmission of the earlier one.
const firstStep = 64000

// open begins a flow, or finds the one that the other end has begun; nil once the capture is
// closed.
func (c *Capture) open(owner *traced, local, remote transport.Addr, how string) *flow {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	ours, theirs := c.endpoints(local, remote, how)
	key := keyOf(ours, theirs)
	if f := c.flows[key]; f != nil {
		return f
	}
	f := &flow{c: c, key: key, owner: owner, ends: [2]netip.AddrPort{ours, theirs}, next: [2]uint32{c.first, c.first}}
	c.flows[key] = f
	c.first += firstStep
	caller, called := outward, inward
	switch how {
	case imported:
		f.next[outward]++ // behind a SYN each
		f.next[inward]++
		return f
	case accepted:
		caller, called = inward, outward
	}
	f.packet(caller, pcap.SYN, nil)
	f.next[caller]++
	f.packet(called, pcap.SYN|pcap.ACK, nil)
	f.next[called]++
	f.packet(caller, pcap.ACK, nil)
	f.shaking = [2]bool{true, true}
	return f
}

func keyOf(one, other netip.AddrPort) flowKey {
	if one.Compare(other) > 0 {
		return flowKey{other, one}
	}
	return flowKey{one, other}
}

// endpoints are the addresses of a connection's two ends, made up where they are not inet ones.
func (c *Capture) endpoints(local, remote transport.Addr, how string) (ours, theirs netip.AddrPort) {
	var errs [2]error
	if local != nil && remote != nil {
		ours, errs[0] = transport.AddrPort(local)
		theirs, errs[1] = transport.AddrPort(remote)
	}
	if errs[0] != nil || errs[1] != nil || !ours.IsValid() || !theirs.IsValid() {
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		theirs = netip.AddrPortFrom(loopback, 4370)
		for range pcap.Ports {
			ours = netip.AddrPortFrom(loopback, uint16(pcap.FirstPort+c.ends%pcap.Ports))
			c.ends++
			if c.flows[keyOf(ours, theirs)] == nil {
				break
			}
		}
		if how == accepted {
			ours, theirs = theirs, ours
		}
		return ours, theirs
	}
	return pcap.OneFamily(ours, theirs), pcap.OneFamily(theirs, ours)
}

// packet writes one packet of a direction, and counts its bytes.
func (f *flow) packet(direction int, flags uint8, v [][]byte) {
	ack := f.next[1-direction]
	if flags&pcap.ACK == 0 {
		ack = 0
	}
	p := pcap.Packet{From: f.ends[direction], To: f.ends[1-direction], Seq: f.next[direction], Ack: ack, Flags: flags, Data: v}
	f.c.packet = p.AppendRecord(f.c.packet[:0], time.Now())
	f.c.write(f.c.packet)
	f.next[direction] += uint32(length(v))
}

// data writes n bytes of v, in as many packets as it takes.
func (f *flow) data(direction int, v [][]byte, n int64) {
	switch {
	case f.ended[direction]:
	case f.shaking[direction]:
		for _, b := range cut(nil, v, 0, n) {
			f.part[direction] = append(f.part[direction], b...)
		}
		f.shake(direction)
	default:
		for done := int64(0); done < n; done += pcap.MaxSegment {
			f.packet(direction, pcap.PSH|pcap.ACK, cut(nil, v, done, min(n-done, pcap.MaxSegment)))
		}
	}
}

// maxHandshake is the longest packet of a handshake that is looked for, in bytes.
const maxHandshake = 1024

// shake writes each packet of a handshake as a segment of its own: Wireshark's dissector recognises
// neither two in one, nor one in two. The handshake of a direction ends with its digest. See
// erl_dist_protocol, "Distribution Handshake".
func (f *flow) shake(direction int) {
	for {
		b := f.part[direction]
		if len(b) < 3 {
			return
		}
		n, tag := int(binary.BigEndian.Uint16(b)), b[2]
		if n == 0 || n > maxHandshake || !strings.ContainsRune("nNscra", rune(tag)) {
			f.spill(direction)
			return
		}
		if len(b) < 2+n {
			return
		}
		f.packet(direction, pcap.PSH|pcap.ACK, [][]byte{b[:2+n]})
		f.part[direction] = b[2+n:]
		if tag == 'r' || tag == 'a' {
			f.spill(direction)
			return
		}
	}
}

// spill writes what is there of a handshake's packet, and looks for no more of them.
func (f *flow) spill(direction int) {
	b := f.part[direction]
	f.shaking[direction], f.part[direction] = false, nil
	f.data(direction, [][]byte{b}, int64(len(b)))
}

// mine locks the flow for a stream; false, and not locked, if another stream is the owner or the
// flow has ended.
func (f *flow) mine(end *traced) bool {
	if f == nil {
		return false
	}
	f.c.mu.Lock()
	if f.owner != end || f.over || f.c.closed {
		f.c.mu.Unlock()
		return false
	}
	return true
}

func (f *flow) unlock() { f.c.mu.Unlock() }

// maxAhead is the longest write, in bytes, that is in the file before it is out: an answer to it
// may be read before it has come back.
const maxAhead = 4096

// sending says that a write begins.
func (f *flow) sending(end *traced, v [][]byte) {
	if f.mine(end) {
		defer f.unlock()
		if n := length(v); n <= maxAhead {
			f.ahead = n
			f.data(outward, v, n)
		}
	}
}

// sent says that the write has ended, with n bytes of v out. What is in the file and was not out is
// there once more when it is written again, as TCP's retransmissions are.
func (f *flow) sent(end *traced, v [][]byte, n int64) {
	if !f.mine(end) {
		return
	}
	defer f.unlock()
	if f.ahead == 0 {
		f.data(outward, v, n)
		return
	}
	back := f.ahead - max(n, 0)
	f.ahead = 0
	if !f.ended[outward] {
		held := min(back, int64(len(f.part[outward])))
		f.part[outward] = f.part[outward][:int64(len(f.part[outward]))-held]
		f.next[outward] -= uint32(back - held)
	}
}

// received says what has been read.
func (f *flow) received(end *traced, b []byte) {
	if f.mine(end) {
		defer f.unlock()
		f.data(inward, [][]byte{b}, int64(len(b)))
	}
}

// end writes the FIN of a direction.
func (f *flow) end(direction int) {
	if f.ended[direction] {
		return
	}
	f.spill(direction)
	f.ended[direction] = true
	f.packet(direction, pcap.FIN|pcap.ACK, nil)
	f.next[direction]++
	f.packet(1-direction, pcap.ACK, nil)
}

// fin says that a direction has ended.
func (f *flow) fin(end *traced, direction int) {
	if f.mine(end) {
		defer f.unlock()
		f.end(direction)
	}
}

// reset says that the connection is broken: by the peer (inward), or by us.
func (f *flow) reset(end *traced, direction int) {
	if f.mine(end) {
		defer f.unlock()
		f.finish()
		f.packet(direction, pcap.RST|pcap.ACK, nil)
	}
}

// close says that our end is closed.
func (f *flow) close(end *traced) {
	if f.mine(end) {
		defer f.unlock()
		f.spill(inward)
		f.end(outward)
		f.finish()
	}
}

// release says that our end is gone, and the connection lives on: another process has it.
func (f *flow) release(end *traced) {
	if f.mine(end) {
		defer f.unlock()
		f.finish()
	}
}

// finish ends a flow and removes it from the table.
func (f *flow) finish() {
	f.spill(outward)
	f.spill(inward)
	f.over = true
	if f.c.flows[f.key] == f {
		delete(f.c.flows, f.key)
	}
}
