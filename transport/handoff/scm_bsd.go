//go:build unix && !linux

package handoff

import (
	"math"

	"github.com/cnode-go/cnode/transport"
	"golang.org/x/sys/unix"
)

type outSystem struct{ name unix.Sockaddr }

type inSystem struct{}

func (o *outgoing) address(to transport.Addr) (err error) {
	if o.name = nil; to != nil {
		if _, err = transport.UnixPath(to); err == nil {
			o.name, err = transport.ToSockaddr(to)
		}
	}
	return err
}

func (o *outgoing) send(fd int) (int, error) {
	head, rest := o.rest()
	if len(head) == 0 {
		return unix.SendmsgN(fd, rest, o.control(), o.name, unix.MSG_DONTWAIT|noSignal)
	}
	return unix.SendmsgBuffers(fd, [][]byte{head, rest}, o.control(), o.name, unix.MSG_DONTWAIT|noSignal)
}

func (i *incoming) receive(fd int, credentials bool) error {
	if i.whole {
		if err := i.makeRoom(fd); err != nil {
			return err
		}
	}
	var control []byte
	if i.room > 0 {
		control = i.arriving.bytes()[:unix.CmsgSpace(4*i.room)]
	}
	n, used, flags, from, err := receiveMessage(fd, i.p, control)
	if err != nil {
		return err
	}
	if i.from = transport.FromSockaddr(from); i.from == nil {
		i.from = transport.UnixAddr("")
	}
	return i.settle(n, control[:used], flags, credentials)
}

// makeRoom looks at the next packet in ever larger buffers until it fits: these systems do not say
// how long it is.
func (i *incoming) makeRoom(fd int) error {
	const first = 4096
	if cap(i.p) == 0 {
		i.p = make([]byte, first)
	}
	i.p = i.p[:cap(i.p)]
	for {
		n, _, flags, _, err := unix.Recvmsg(fd, i.p, nil, unix.MSG_DONTWAIT|unix.MSG_PEEK)
		switch {
		case err != nil:
			return err
		case flags&unix.MSG_TRUNC == 0 && n <= i.limit:
			return nil
		case n > i.limit, len(i.p) > i.limit, len(i.p) > math.MaxInt/2:
			i.p = i.p[:0] // reading the packet will be ErrTruncated
			return nil
		}
		i.p = make([]byte, 2*len(i.p))
	}
}

// emptyCarries tells whether an empty message can carry descriptors. See unix.SendmsgN.
func emptyCarries(kind int) bool { return kind == unix.SOCK_DGRAM }

// noRoom tells whether the peer had no room: these systems return ENOBUFS if a datagram's receiver
// is full.
func noRoom(err error) bool { return again(err) || err == unix.ENOBUFS }

// tellsRoom says that not even a connected datagram socket hears when there is room in its peer's
// queue.
const tellsRoom = false
