package virtual

import (
	"encoding/binary"
	"net/netip"
	"slices"
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
	c     *Capture
	key   flowKey
	owner *traced           // whose calls are recorded; nil: the next at this end to make one
	ends  [2]netip.AddrPort // ours, the peer's
	next  [2]uint32         // sequence numbers
	ended [2]bool           // FIN is sent
	over  bool
	// A write is in flight: what is read meanwhile may be the answer to it, and comes after it in
	// the file, unless it lasts.
	writing bool
	since   time.Time
	last    bool // the sending direction has ended during that write: the FIN comes after it
	waiting []arrival
	bytes   int        // of waiting
	shaking [2]bool    // a handshake of the Erlang distribution may be going on
	part    [2]partial // the beginning of a packet of that handshake
}

// A partial is the beginning of a packet that has not come whole.
type partial struct {
	data  []byte
	shown int       // how many bytes of data are in the file already
	at    time.Time // when the first of the others came
}

// An arrival is something read that waits for its place in the file.
type arrival struct {
	at   time.Time
	data []byte // nil: FIN
}

// maxWaiting is how many bytes wait at the most.
const maxWaiting = 256 << 10

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
	owner.ours = ours
	key := keyOf(ours, theirs)
	switch f := c.flows[key]; {
	case f == nil:
	case f.owner == nil && how != imported: // of an earlier connection between the same ends
		f.forget()
	default:
		return f
	}
	f := &flow{c: c, key: key, owner: owner, ends: [2]netip.AddrPort{ours, theirs}, next: [2]uint32{c.first, c.first}}
	c.flows[key] = f
	c.first += firstStep
	now := time.Now()
	caller, called := outward, inward
	switch how {
	case imported:
		f.next[outward]++ // behind a SYN each
		f.next[inward]++
		return f
	case accepted:
		caller, called = inward, outward
	}
	f.packet(now, caller, pcap.SYN, nil)
	f.next[caller]++
	f.packet(now, called, pcap.SYN|pcap.ACK, nil)
	f.next[called]++
	f.packet(now, caller, pcap.ACK, nil)
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
func (f *flow) packet(at time.Time, direction int, flags uint8, v [][]byte) {
	ack := f.next[1-direction]
	if flags&pcap.ACK == 0 {
		ack = 0
	}
	p := pcap.Packet{From: f.ends[direction], To: f.ends[1-direction], Seq: f.next[direction], Ack: ack, Flags: flags, Data: v}
	f.c.packet = p.AppendRecord(f.c.packet[:0], at)
	f.c.write(f.c.packet)
	f.next[direction] += uint32(length(v))
}

// data writes n bytes of v, in as many packets as it takes.
func (f *flow) data(at time.Time, direction int, v [][]byte, n int64) {
	if f.shaking[direction] {
		p := &f.part[direction]
		if len(p.data) == p.shown {
			p.at = at
		}
		for _, b := range cut(nil, v, 0, n) {
			p.data = append(p.data, b...)
		}
		if f.shake(at, direction); len(p.data) > p.shown {
			f.c.soon()
		}
		return
	}
	for done := int64(0); done < n; done += pcap.MaxSegment {
		f.packet(at, direction, pcap.PSH|pcap.ACK, cut(nil, v, done, min(n-done, pcap.MaxSegment)))
	}
}

// maxHandshake is the longest packet of a handshake that is looked for, in bytes.
const maxHandshake = 1024

// shake writes each packet of a handshake as a segment of its own: Wireshark's dissector recognises
// neither two in one, nor one in two. One that does not come whole within captureDelay is in two
// all the same (catchUp). The handshake of a direction ends with its digest. See erl_dist_protocol,
// "Distribution Handshake".
func (f *flow) shake(at time.Time, direction int) {
	for {
		p := &f.part[direction]
		b := p.data
		if len(b) < 3 {
			return
		}
		n, tag := int(binary.BigEndian.Uint16(b)), b[2]
		if n == 0 || n > maxHandshake || !strings.ContainsRune("nNscra", rune(tag)) {
			f.spill(at, direction)
			return
		}
		if len(b) < 2+n {
			return
		}
		f.packet(at, direction, pcap.PSH|pcap.ACK, [][]byte{b[p.shown : 2+n]})
		*p = partial{data: b[2+n:], at: at}
		if tag == 'r' || tag == 'a' {
			f.spill(at, direction)
			return
		}
	}
}

// spill writes what is there of a handshake's packet, and looks for no more of them.
func (f *flow) spill(at time.Time, direction int) {
	b := f.part[direction].data[f.part[direction].shown:]
	f.shaking[direction], f.part[direction] = false, partial{}
	if len(b) > 0 {
		f.data(at, direction, [][]byte{b}, int64(len(b)))
	}
}

// mine locks the flow for a stream; false, and not locked, if another stream is the owner or the
// flow has ended.
func (f *flow) mine(end *traced) bool {
	if f == nil {
		return false
	}
	f.c.mu.Lock()
	if f.owner == nil && end.ours == f.ends[0] {
		f.owner = end
		f.c.left = slices.DeleteFunc(f.c.left, func(g *flow) bool { return g == f })
	}
	if f.owner != end || f.over || f.c.closed {
		f.c.mu.Unlock()
		return false
	}
	return true
}

func (f *flow) unlock() { f.c.mu.Unlock() }

// sending says that a write begins.
func (f *flow) sending(end *traced) {
	if f.mine(end) {
		defer f.unlock()
		f.writing, f.since = true, time.Now()
	}
}

// sent says that the write has ended, with n bytes of v out.
func (f *flow) sent(end *traced, v [][]byte, n int64) {
	if f.mine(end) {
		defer f.unlock()
		f.data(f.since, outward, v, n)
		f.settle()
	}
}

// received says what has been read.
func (f *flow) received(end *traced, b []byte) {
	if f.mine(end) {
		defer f.unlock()
		f.arrive(arrival{time.Now(), b})
	}
}

func (f *flow) arrive(a arrival) {
	if f.writing && f.bytes+len(a.data) <= maxWaiting {
		a.data = slices.Clone(a.data)
		f.waiting = append(f.waiting, a)
		f.bytes += len(a.data)
		f.c.soon()
		return
	}
	f.pour()
	f.put(a)
}

// settle ends a write: what was read meanwhile comes after it.
func (f *flow) settle() {
	f.writing = false
	f.pour()
	if f.last {
		f.end(time.Now(), outward)
	}
}

func (f *flow) pour() {
	for _, a := range f.waiting {
		f.put(a)
	}
	f.waiting, f.bytes = nil, 0
}

// catchUp writes what has waited since limit or longer, and reports whether something still waits.
// Of a handshake's packet it writes what is there; the rest is another segment then, with which the
// handshake goes on.
func (f *flow) catchUp(limit time.Time) (waits bool) {
	if len(f.waiting) > 0 && !f.waiting[0].at.After(limit) {
		f.pour()
	}
	waits = len(f.waiting) > 0
	for direction := range f.part {
		p := &f.part[direction]
		switch {
		case len(p.data) == p.shown:
		case p.at.After(limit):
			waits = true
		default: // now, for it acknowledges what the other direction has in the file
			f.packet(time.Now(), direction, pcap.PSH|pcap.ACK, [][]byte{p.data[p.shown:]})
			p.shown = len(p.data)
		}
	}
	return waits
}

// put writes an arrival. A write that is still in flight comes after it in the file, so it gets the
// later time.
func (f *flow) put(a arrival) {
	f.since = a.at
	if a.data == nil {
		f.end(a.at, inward)
		return
	}
	f.data(a.at, inward, [][]byte{a.data}, int64(len(a.data)))
}

// end writes the FIN of a direction.
func (f *flow) end(at time.Time, direction int) {
	if f.ended[direction] {
		return
	}
	f.ended[direction] = true
	f.spill(at, direction)
	f.packet(at, direction, pcap.FIN|pcap.ACK, nil)
	f.next[direction]++
	f.packet(at, 1-direction, pcap.ACK, nil)
}

// fin says that a direction has ended.
func (f *flow) fin(end *traced, direction int) {
	if !f.mine(end) {
		return
	}
	defer f.unlock()
	switch {
	case direction == inward:
		f.arrive(arrival{at: time.Now()})
	case f.writing:
		f.last = true
	default:
		f.end(time.Now(), outward)
	}
}

// reset says that the connection is broken: by the peer (inward), or by us.
func (f *flow) reset(end *traced, direction int) {
	if f.mine(end) {
		defer f.unlock()
		f.settle()
		now := time.Now()
		f.spill(now, outward)
		f.spill(now, inward)
		f.packet(now, direction, pcap.RST|pcap.ACK, nil)
		f.finish()
	}
}

// close says that our end is closed.
func (f *flow) close(end *traced) {
	if f.mine(end) {
		defer f.unlock()
		f.settle()
		now := time.Now()
		f.spill(now, inward)
		f.end(now, outward)
		f.finish()
	}
}

// maxLeft is how many flows may be without an owner: most have gone to another process, and never
// get one here.
const maxLeft = 1024

// release says that our end is gone, and the connection lives on: another end may see it from now
// on.
func (f *flow) release(end *traced) {
	if f.mine(end) {
		defer f.unlock()
		f.settle()
		f.owner = nil
		f.c.left = append(f.c.left, f)
		if len(f.c.left) > maxLeft {
			f.c.left[0].forget()
		}
	}
}

// forget ends a flow that nobody owns any more.
func (f *flow) forget() {
	now := time.Now()
	f.spill(now, outward)
	f.spill(now, inward)
	f.finish()
	f.c.left = slices.DeleteFunc(f.c.left, func(g *flow) bool { return g == f })
}

// finish ends a flow and removes it from the table.
func (f *flow) finish() {
	f.over = true
	if f.c.flows[f.key] == f {
		delete(f.c.flows, f.key)
	}
}
