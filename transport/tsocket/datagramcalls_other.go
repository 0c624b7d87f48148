//go:build unix && !linux

package tsocket

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// tellsRoom says that not even a connected UNIX socket hears when there is room in its peer's
// queue.
const tellsRoom = false

// A sender is who sent the last datagram; nil if the system does not say.
type sender struct {
	addr transport.Addr
	buf  []byte // in which peekFD looks at the next one
}

func recvFromFD(fd int, r *receipt) {
	n, _, flags, from, err := unix.Recvmsg(fd, r.p, nil, 0)
	if r.err = err; err != nil {
		return
	}
	r.n, r.size, r.addr = n, n, transport.FromSockaddr(from)
	if flags&unix.MSG_TRUNC != 0 {
		r.size = UnknownSize
	}
}

// peekFD finds out the size of the next datagram: FIONREAD tells that of all of them, or counts
// names as well.
func peekFD(fd int, r *receipt) {
	for {
		if r.buf == nil {
			r.buf = make([]byte, 4096)
		}
		n, _, flags, _, err := unix.Recvmsg(fd, r.buf, nil, unix.MSG_PEEK)
		if err != nil || flags&unix.MSG_TRUNC == 0 {
			r.size, r.err = n, err
			return
		}
		r.buf = make([]byte, 2*len(r.buf))
	}
}

func sendToFD(fd int, w *dispatch) error {
	if w.to == nil {
		_, err := unix.Write(fd, w.p)
		return err
	}
	sa, err := transport.ToSockaddr(w.to)
	if err != nil {
		return err
	}
	if four, ok := sa.(*unix.SockaddrInet4); ok && len(w.name) == sys.SizeofInet6 {
		// w.name has the mapped form, which the socket needs.
		sa = &unix.SockaddrInet6{Port: four.Port, Addr: netip.AddrFrom4(four.Addr).As16()}
	}
	return unix.Sendto(fd, w.p, 0, sa)
}
