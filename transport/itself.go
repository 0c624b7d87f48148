package transport

// metItself tells whether a socket has connected to itself: the system may have given it the very port as its own that it connects to, and
// where nobody listens there a TCP socket answers itself. Plug-ins of others look after themselves.
func (p *plugin[C]) metItself(s *socket[C], addr Addr) bool {
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
	peer, err := AddrPort(peerAddr(s))
	return err == nil && peer == from
}
