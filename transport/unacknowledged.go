package transport

import "time"

// Unacknowledged is for how long the peer's system has not acknowledged what was sent to it, or said whether it has room again; 0 where it
// owes neither. A peer whose machine or network has gone without a word shows by this alone where nobody reads from it, for a live one
// acknowledges also what its program does not read. It does not wait. errors.ErrUnsupported where the system does not tell: it is for TCP
// on Linux (tcp(7), TCP_INFO), whichever plug-in the descriptor is of.
func (s *Stream) Unacknowledged() (time.Duration, error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, opError("unacknowledged", s.remote, err)
	}
	var d time.Duration
	if no := raw.Control(func(fd uintptr) { d, err = unacknowledged(int(fd)) }); no != nil {
		err = no
	}
	return d, opError("unacknowledged", s.remote, err)
}
