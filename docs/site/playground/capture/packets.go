// Package capture reads captures of the distribution: what nodes have said to each other.
package capture

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

var errNoCapture = errors.New("not a pcap file of Ethernet, Linux or loopback packets: of pcapng, editcap -F pcap makes one")

const (
	fileHeader   = 24
	recordHeader = 16
	maxPacket    = 256 << 10 // the most that tcpdump takes
)

// A Reader reads a pcap file that is written to it, as tcpdump and virtual.NewCapture make them. It
// gives each event as soon as its last byte is there. It is not safe for concurrent use.
type Reader struct {
	give  func(Event)
	buf   []byte
	order binary.ByteOrder // nil before the header
	link  uint32
	talks map[[2]netip.AddrPort]*talk // by the connecting and the accepting end
}

// NewReader makes a Reader that calls give with each event.
func NewReader(give func(Event)) *Reader {
	return &Reader{give: give, talks: map[[2]netip.AddrPort]*talk{}}
}

// Write takes the next bytes of the file. Its error says that the file is not a capture.
func (r *Reader) Write(b []byte) (int, error) {
	r.buf = append(r.buf, b...)
	if r.order == nil {
		if len(r.buf) < fileHeader {
			return len(b), nil
		}
		if err := r.header(r.buf); err != nil {
			return 0, err
		}
		r.buf = r.buf[fileHeader:]
	}
	for len(r.buf) >= recordHeader {
		n := r.order.Uint32(r.buf[8:])
		if n > maxPacket {
			return 0, errNoCapture
		}
		end := recordHeader + int(n)
		if len(r.buf) < end {
			break
		}
		r.packet(r.buf[recordHeader:end])
		r.buf = r.buf[end:]
	}
	return len(b), nil
}

// Close says whether the file was whole.
func (r *Reader) Close() error {
	switch {
	case r.order == nil:
		return errNoCapture
	case len(r.buf) > 0:
		return errors.New("the file ends within a packet")
	}
	return nil
}

func (r *Reader) header(b []byte) error {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if m := order.Uint32(b); m == 0xa1b2c3d4 || m == 0xa1b23c4d { // with microseconds, nanoseconds
			r.order, r.link = order, order.Uint32(b[20:])&0xffff
		}
	}
	if r.order == nil || linkHeader(r.link) < 0 {
		return errNoCapture
	}
	return nil
}

// linkHeader is how long the header before the IP packet is: see www.tcpdump.org/linktypes.html.
func linkHeader(link uint32) int {
	switch link {
	case 0: // BSD loopback
		return 4
	case 1: // Ethernet
		return 14
	case 101: // none
		return 0
	case 113: // Linux cooked, tcpdump -i any
		return 16
	case 276: // Linux cooked, version 2
		return 20
	}
	return -1
}

// packet takes a packet apart down to the bytes of its TCP connection, if it is of one.
func (r *Reader) packet(p []byte) {
	n := linkHeader(r.link)
	if len(p) <= n {
		return
	}
	p = p[n:]
	var from, to netip.Addr
	switch {
	case p[0]>>4 == 4 && len(p) >= 20 && p[9] == 6:
		from, to = netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
		header, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
		if total < header || total > len(p) { // 0: the card was to fill it in
			total = len(p)
		}
		p = p[min(header, total):total]
	case p[0]>>4 == 6 && len(p) >= 40 && p[6] == 6:
		from, to = netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40]))
		if total := 40 + int(binary.BigEndian.Uint16(p[4:])); total > 40 && total < len(p) {
			p = p[:total]
		}
		p = p[40:]
	}
	if !from.IsValid() || len(p) < 20 || int(p[12]>>4)*4 > len(p) {
		return
	}
	r.segment(netip.AddrPortFrom(from, binary.BigEndian.Uint16(p)), netip.AddrPortFrom(to, binary.BigEndian.Uint16(p[2:])),
		binary.BigEndian.Uint32(p[4:]), p[13], p[int(p[12]>>4)*4:])
}

const (
	flagFin = 1 << iota
	flagSyn
	flagRst
	_
	flagAck
)

// segment gives the bytes of a connection to its talk, in their order and each once.
func (r *Reader) segment(from, to netip.AddrPort, seq uint32, flags byte, data []byte) {
	if flags&flagSyn != 0 && flags&flagAck == 0 {
		if old := r.talks[[2]netip.AddrPort{from, to}]; old == nil || old.ended || old.ways[0].next != seq+1 { // else sent again
			r.talks[[2]netip.AddrPort{from, to}] = newTalk(r.give, from.String(), to.String(), seq+1)
		}
		return
	}
	side, t := 0, r.talks[[2]netip.AddrPort{from, to}]
	if t == nil {
		side, t = 1, r.talks[[2]netip.AddrPort{to, from}]
	}
	if t == nil { // it began before the capture: what its bytes mean is not known
		return
	}
	w := &t.ways[side]
	if flags&flagSyn != 0 {
		w.next = seq + 1
		return
	}
	if len(data) > 0 {
		w.early[seq] = append([]byte(nil), data...)
	}
	for again := true; again; {
		again = false
		for at, b := range w.early {
			if ahead := int32(at - w.next); ahead > 0 {
				continue
			} else if known := -int(ahead); known < len(b) {
				w.buf = append(w.buf, b[known:]...)
				w.next += uint32(len(b) - known)
				again = true
			}
			delete(w.early, at)
		}
	}
	t.read(side)
	t.read(1 - side) // an ack may have been missing
	if flags&(flagFin|flagRst) != 0 {
		t.end(side, flags&flagRst != 0)
	}
}
