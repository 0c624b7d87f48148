package transport

// metItself reports whether a socket has connected to itself: the system may give a socket, as its
// own port, the very port that it connects to, and if nobody listens there a TCP socket answers
// itself. Only this package's own plug-ins are checked.
func (p *plugin[C]) metItself(s carrier, addr Addr) bool {
	if !p.prompt {
		return false
	}
	to, err := AddrPort(addr)
	if err != nil {
		return false
	}
	from, err := AddrPort(s.localAddr())
	if err != nil || from.Port() != to.Port() {
		return false
	}
	peer, err := AddrPort(peerAddr(s.descriptor()))
	return err == nil && peer == from
}
