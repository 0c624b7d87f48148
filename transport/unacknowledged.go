package transport

import (
	"time"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// Unacknowledged is for how long the peer's system has neither acknowledged what was sent to it,
// nor said whether it has room again; 0 if it owes neither. While nobody reads from the stream,
// this alone shows that the peer's machine or network has gone without a word: a live peer's system
// acknowledges even what its program does not read. Unacknowledged does not wait.
// errors.ErrUnsupported if the system does not tell: it is for TCP on Linux (tcp(7), TCP_INFO),
// whichever plug-in the descriptor belongs to.
func (s *Stream) Unacknowledged() (time.Duration, error) {
	raw, err := s.rawConn()
	if err != nil {
		return 0, opError("unacknowledged", s.remote, err)
	}
	var d time.Duration
	if no := raw.Control(func(fd uintptr) { d, err = sys.Unacknowledged(int(fd)) }); no != nil {
		err = no
	}
	return d, opError("unacknowledged", s.remote, err)
}
