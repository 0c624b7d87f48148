// Package pcap writes TCP segments and UDP datagrams as the records of a pcap file, which
// Wireshark, tshark and tcpdump read.
package pcap

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// The flags of a TCP header. See RFC 9293, section 3.1.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// The sizes in bytes of what stands before the data of a packet, and the most data in one.
const (
	recordHead = 16
	ipv4Head   = 20
	tcpHead    = 20
	udpHead    = 8
	MaxSegment = 32 << 10
)

// MaxUDP is the longest datagram that an IPv4 packet has room for.
const MaxUDP = 1<<16 - 1 - ipv4Head - udpHead

// The protocols over IP. See RFC 9293, section 3.1, and RFC 768, "Protocol Application".
const (
	protocolTCP = 6
	protocolUDP = 17
)

// A Packet is a TCP segment, or a UDP datagram, in an Ethernet frame.
type Packet struct {
	From, To netip.AddrPort // both IPv4, or both IPv6
	UDP      bool
	Seq, Ack uint32 // these, and Flags, are TCP's
	Flags    uint8
	Data     [][]byte
}

// AppendRecord appends the packet as a record of a pcap file. See draft-ietf-opsawg-pcap, "Packet
// Record".
func (p Packet) AppendRecord(b []byte, at time.Time) []byte {
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

func (p Packet) appendFrame(b []byte) []byte {
	protocol, head, sumAt := byte(protocolTCP), tcpHead, 16
	if p.UDP {
		protocol, head, sumAt = protocolUDP, udpHead, 6
	}
	size := head + length(p.Data)
	mac := func(b []byte, a netip.AddrPort) []byte { // local; it ends as the port does
		return append(b, 2, 0, 0, 0, byte(a.Port()>>8), byte(a.Port()))
	}
	b = mac(mac(b, p.To), p.From)
	from, to := p.From.Addr().AsSlice(), p.To.Addr().AsSlice()
	if p.From.Addr().Is4() { // RFC 791, section 3.1
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
	b = binary.BigEndian.AppendUint16(b, p.From.Port())
	b = binary.BigEndian.AppendUint16(b, p.To.Port())
	if p.UDP {
		b = binary.BigEndian.AppendUint16(b, uint16(size))
		b = append(b, 0, 0)
	} else {
		b = binary.BigEndian.AppendUint32(b, p.Seq)
		b = binary.BigEndian.AppendUint32(b, p.Ack)
		b = append(b, tcpHead/4<<4, p.Flags, 0xff, 0xff, 0, 0, 0, 0)
	}
	for _, d := range p.Data {
		b = append(b, d...)
	}
	// The pseudo header of RFC 9293, section 3.1, and RFC 768.
	sum := uint64(protocol) + uint64(size)
	for _, address := range [][]byte{from, to} {
		sum = add(sum, address)
	}
	sent := checksum(sum, b[start:])
	if p.UDP && sent == 0 { // which would mean that there is no checksum
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

// FileHeader is the head of a pcap file: little endian, nanoseconds, Ethernet. See
// draft-ietf-opsawg-pcap, "File Header".
func FileHeader() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint32(b, 256<<10)
	return binary.LittleEndian.AppendUint32(b, 1)
}

// The ports for ends that have none: the dynamic ones. See RFC 6335, section 6.
const (
	FirstPort = 49152
	Ports     = 1<<16 - FirstPort
)

// OneFamily returns a without its zone, and as an IPv6 address if other is one.
func OneFamily(a, other netip.AddrPort) netip.AddrPort {
	ip := a.Addr().WithZone("")
	if a.Addr().Is4() != other.Addr().Is4() {
		ip = netip.AddrFrom16(ip.As16())
	}
	return netip.AddrPortFrom(ip, a.Port())
}

func length(v [][]byte) (n int) {
	for _, b := range v {
		n += len(b)
	}
	return n
}
