package front

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol of HAProxy (proxy-protocol.txt), versions 1 and 2.
const (
	proxyLine    = 107 // the longest header of version 1, its CRLF included
	proxyHead    = 16  // of version 2
	proxyMost    = 4 << 10
	proxyMark    = "\r\n\r\n\x00\r\nQUIT\n"
	proxyWord    = "PROXY "
	proxyV2      = 2
	commandLocal = 0
	commandProxy = 1
)

// A proxied is what a PROXY header says. The endpoints are not valid if it says nothing of them:
// the proxy's own checks, or a client that has no IP address.
type proxied struct {
	remote, local netip.AddrPort
}

// parseProxy reads a header at the beginning of p. size is its length, 0 if more of it has to come.
func parseProxy(p []byte) (h proxied, size int, err error) {
	switch {
	case bytes.HasPrefix(p, []byte(proxyMark)):
		return parseProxy2(p)
	case bytes.HasPrefix(p, []byte(proxyWord)):
		return parseProxy1(p)
	case len(p) < len(proxyMark) && (strings.HasPrefix(proxyMark, string(p)) || strings.HasPrefix(proxyWord, string(p))):
		return h, 0, nil
	}
	return h, 0, malformed("no PROXY header")
}

func parseProxy1(p []byte) (h proxied, size int, err error) {
	end := bytes.Index(p[:min(len(p), proxyLine)], []byte("\r\n"))
	if end < 0 {
		if len(p) >= proxyLine {
			return h, 0, malformed("a PROXY line of more than %d bytes", proxyLine)
		}
		return h, 0, nil
	}
	size = end + 2
	words := strings.Split(string(p[:end]), " ")
	if words[1] == "UNKNOWN" {
		return h, size, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return h, 0, malformed("PROXY line %q", p[:end])
	}
	endpoint := func(host, port string) (ap netip.AddrPort, err error) {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return ap, err
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err == nil && (ip.Is4() != (words[1] == "TCP4") || ip.Zone() != "") {
			err = fmt.Errorf("%v is no address of %s", ip, words[1])
		}
		return netip.AddrPortFrom(ip, uint16(n)), err
	}
	if h.remote, err = endpoint(words[2], words[4]); err == nil {
		h.local, err = endpoint(words[3], words[5])
	}
	if err != nil {
		return proxied{}, 0, malformed("PROXY line %q: %v", p[:end], err)
	}
	return h, size, nil
}

func parseProxy2(p []byte) (h proxied, size int, err error) {
	if len(p) < proxyHead {
		return h, 0, nil
	}
	version, command := p[12]>>4, p[12]&15
	length := int(binary.BigEndian.Uint16(p[14:]))
	switch {
	case version != proxyV2 || command != commandLocal && command != commandProxy:
		return h, 0, malformed("PROXY header of version %d, command %d", version, command)
	case proxyHead+length > proxyMost:
		return h, 0, malformed("a PROXY header of %d bytes, more than %d", proxyHead+length, proxyMost)
	case len(p) < proxyHead+length:
		return h, 0, nil
	}
	size = proxyHead + length
	body, ip := p[proxyHead:size], 0
	switch p[13] {
	case 0x11: // TCP over IPv4
		ip = 4
	case 0x21: // TCP over IPv6
		ip = 16
	}
	if ip == 0 || command == commandLocal {
		return h, size, nil
	}
	if len(body) < 2*ip+4 {
		return h, 0, malformed("a PROXY header with addresses of %d bytes", len(body))
	}
	endpoint := func(at int, port []byte) netip.AddrPort {
		a, _ := netip.AddrFromSlice(body[at : at+ip])
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
	}
	h.remote, h.local = endpoint(0, body[2*ip:]), endpoint(ip, body[2*ip+2:])
	return h, size, nil
}
