//go:build unix

package transport

// peerAddr asks the system for the peer's address; nil if it does not know it.
func peerAddr(c carrier) Addr {
	fd, err := c.descriptor()
	if err != nil {
		return nil
	}
	return mustAddr(peerAddrFD(fd))
}
