package transport

import "github.com/cnode-go/cnode/transport/internal/sys"

// OutstandingBytes is how many of the bytes that were written have not arrived: the peer's system
// has not acknowledged them (TCP), or the peer has not read them (UNIX). An end of the direction
// that has not arrived may count as a byte. What is outstanding when a stream is closed may be
// lost: the system discards it if anything comes from the peer. OutstandingBytes does not wait.
// errors.ErrUnsupported if the system does not tell: it is for plug-ins with a descriptor, on Linux
// (SIOCOUTQ), darwin (SO_NWRITE) and freebsd (FIONWRITE).
func (s *Stream) OutstandingBytes() (int, error) {
	raw, err := s.rawConn()
	if err != nil {
		return 0, opError("outstanding bytes", s.remote, err)
	}
	var n int
	if no := raw.Control(func(fd uintptr) { n, err = sys.Unarrived(int(fd)) }); no != nil {
		err = no
	}
	return n, opError("outstanding bytes", s.remote, err)
}
