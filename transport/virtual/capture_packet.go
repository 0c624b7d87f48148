package virtual

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// The flags of a TCP header. See RFC 9293, section 3.1.
const (
	tcpFIN = 1 << iota
	tcpSYN
	tcpRST
	tcpPSH
	tcpACK
)

// The sizes in bytes of what stands before the data of a packet, and the most data in one.
const (
	recordHead = 16
	ipv4Head   = 20
	tcpHead    = 20
	udpHead    = 8
	maxSegment = 32 << 10
)

// The protocols over IP. See RFC 9293, section 3.1, and RFC 768, "Protocol Application".
const (
	protocolTCP = 6
	protocolUDP = 17
)

// A packet is a TCP segment, or a UDP datagram, in an Ethernet frame.
type packet struct {
	from, to netip.AddrPort // both IPv4, or both IPv6
	udp      bool
	seq, ack uint32 // these, and flags, are TCP's
	flags    uint8
	data     [][]byte
}

// appendRecord appends the packet as a record of a pcap file. See draft-ietf-opsawg-pcap, "Packet
// Record".
func (p packet) appendRecord(b []byte, at time.Time) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(at.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(at.Nanosecond()))
	b = append(b, make([]byte, 8)...) // its length, twice
	b = p.appendFrame(b)
	n := uint32(len(b) - start - recordHead)
	binary.LittleEndian.PutUint32(b[start+8:], n)
	binary.LittleEndian.PutUint32(b[start+12:], n)
	return b
}

func (p packet) appendFrame(b []byte) []byte {
	protocol, head, sumAt := byte(protocolTCP), tcpHead, 16
	if p.udp {
		protocol, head, sumAt = protocolUDP, udpHead, 6
	}
	size := head + int(length(p.data))
	mac := func(b []byte, a netip.AddrPort) []byte { // local; it ends as the port does
		return append(b, 2, 0, 0, 0, byte(a.Port()>>8), byte(a.Port()))
	}
	b = mac(mac(b, p.to), p.from)
	from, to := p.from.Addr().AsSlice(), p.to.Addr().AsSlice()
	if p.from.Addr().Is4() { // RFC 791, section 3.1
		b = append(b, 0x08, 0x00)
		start := len(b)
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(ipv4Head+size))
		b = append(b, 0, 0, 0x40, 0, 64, protocol, 0, 0) // whole, 64 hops
		b = append(append(b, from...), to...)
		binary.BigEndian.PutUint16(b[start+10:], checksum(0, b[start:]))
	} else { // RFC 8200, section 3
		b = append(b, 0x86, 0xdd)
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(size))
		b = append(b, protocol, 64)
		b = append(append(b, from...), to...)
	}
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, p.from.Port())
	b = binary.BigEndian.AppendUint16(b, p.to.Port())
	if p.udp {
		b = binary.BigEndian.AppendUint16(b, uint16(size))
		b = append(b, 0, 0)
	} else {
		b = binary.BigEndian.AppendUint32(b, p.seq)
		b = binary.BigEndian.AppendUint32(b, p.ack)
		b = append(b, tcpHead/4<<4, p.flags, 0xff, 0xff, 0, 0, 0, 0)
	}
	for _, d := range p.data {
		b = append(b, d...)
	}
	// The pseudo header of RFC 9293, section 3.1, and RFC 768.
	sum := uint64(protocol) + uint64(size)
	for _, address := range [][]byte{from, to} {
		sum = add(sum, address)
	}
	sent := checksum(sum, b[start:])
	if p.udp && sent == 0 { // which would mean that there is no checksum
		sent = 0xffff
	}
	binary.BigEndian.PutUint16(b[start+sumAt:], sent)

	return b
}

// add adds 16-bit words, four at a time: one half of a larger word counts as much as the other (RFC
// 1071, section 2).
func add(sum uint64, b []byte) uint64 {
	for ; len(b) >= 8; b = b[8:] {
		v := binary.BigEndian.Uint64(b)
		sum += v>>32 + v&0xffffffff
	}
	for ; len(b) >= 2; b = b[2:] {
		sum += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) > 0 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// checksum is the Internet checksum (RFC 1071); sum is what has been added already. At most 64 KiB
// are added, so nothing overflows.
func checksum(sum uint64, b []byte) uint16 {
	sum = add(sum, b)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
