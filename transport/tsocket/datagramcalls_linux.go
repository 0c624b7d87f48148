package tsocket

import "github.com/cnode-go/cnode/transport"

import "github.com/cnode-go/cnode/transport/internal/sys"

// tellsRoom says that the system tells a connected UNIX socket when there is room in its peer's
// queue.
const tellsRoom = true

// A sender remembers who sent the last datagram: the next one is most often from the same.
type sender struct {
	name  [128]byte // sockaddr_storage
	known string    // the name whose Addr addr is
	addr  transport.Addr
}

func recvFromFD(fd int, r *receipt) {
	size, length, err := sys.RecvFrom(fd, r.p, r.name[:])
	if err != nil {
		r.err = err
		return
	}
	r.size, r.n = size, min(size, len(r.p))
	name := r.name[:length]
	if r.addr != nil && string(name) == r.known {
		return
	}
	if len(name) == 0 { // an unnamed UNIX socket
		r.addr, r.known = transport.UnixAddr(""), ""
		return
	}
	r.addr, _ = transport.ParseSockaddr(name)
	r.known = string(name)
}

// peekFD finds out the size of the next datagram.
func peekFD(fd int, r *receipt) { r.size, r.err = sys.NextSize(fd) }

func sendToFD(fd int, w *dispatch) error { return sys.SendTo(fd, w.p, w.name) }
