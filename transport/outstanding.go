package transport

import (
	"time"

	"github.com/cnode-go/cnode/transport/internal/sys"
)

// OutstandingBytes is how many of the bytes that were written have not arrived: the peer's system
// has not acknowledged them (TCP), or the peer has not read them (UNIX). An end of the direction
// that has not arrived may count as a byte. What is outstanding when a stream is closed may be
// lost: the system discards it if anything comes from the peer. OutstandingBytes does not wait.
// errors.ErrUnsupported if the system does not tell: it is for plug-ins with a descriptor, on Linux
// (SIOCOUTQ), darwin (SO_NWRITE) and freebsd (FIONWRITE).
func (s *Stream) OutstandingBytes() (int, error) {
	return askSystem(s, "outstanding bytes", sys.Unarrived)
}

// Unacknowledged is for how long the peer's system has neither acknowledged what was sent to it,
// nor said whether it has room again; 0 if it owes neither. While nobody reads from the stream,
// this alone shows that the peer's machine or network has gone without a word: a live peer's system
// acknowledges even what its program does not read. Unacknowledged does not wait.
// errors.ErrUnsupported if the system does not tell: it is for TCP on Linux (tcp(7), TCP_INFO),
// whichever plug-in the descriptor belongs to.
func (s *Stream) Unacknowledged() (time.Duration, error) {
	return askSystem(s, "unacknowledged", sys.Unacknowledged)
}

// askSystem asks the system about the stream's descriptor.
func askSystem[T any](s *Stream, what string, ask func(fd int) (T, error)) (answer T, err error) {
	raw, err := s.rawConn()
	if err != nil {
		return answer, opError(what, s.remote, err)
	}
	if no := raw.Control(func(fd uintptr) { answer, err = ask(int(fd)) }); no != nil {
		err = no
	}
	return answer, opError(what, s.remote, err)
}
