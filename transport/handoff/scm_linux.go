package handoff

import (
	"syscall"
	"unsafe"

	"github.com/cnode-go/cnode/transport"
	"golang.org/x/sys/unix"
)

// The system calls use structures that live in the Conn, so that nothing is allocated. Those of
// x/sys would add a byte to an empty packet with descriptors.

type outSystem struct {
	header unix.Msghdr
	vector [2]unix.Iovec
	name   []byte // sockaddr_un
}

type inSystem struct {
	header unix.Msghdr
	vector unix.Iovec
	name   [unix.SizeofSockaddrUnix + 2]byte
	known  string // the name whose Addr is cached
	cached transport.Addr
}

// address stores the address of an outgoing message as a sockaddr; nil is none.
func (o *outgoing) address(to transport.Addr) (err error) {
	if o.name = o.name[:0]; to != nil {
		if _, err = transport.UnixPath(to); err == nil {
			o.name, err = transport.AppendSockaddr(o.name, to)
		}
	}
	return err
}

func (o *outgoing) send(fd int) (int, error) {
	return messageCall(unix.SYS_SENDMSG, fd, &o.header, sendFlags, o.describe())
}

const (
	sendFlags    = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	receiveFlags = unix.MSG_DONTWAIT | unix.MSG_CMSG_CLOEXEC
)

func (o *outSystem) clear() { o.vector[0].Base, o.vector[1].Base = nil, nil }
func (i *inSystem) clear()  { i.vector.Base = nil }

// describe fills in what sendmsg(2) is to send, and says how many bytes that is.
func (o *outgoing) describe() int {
	h := &o.header
	*h = unix.Msghdr{}
	head, rest := o.rest()
	parts := 0
	if len(head) > 0 {
		o.vector[0].Base = &head[0]
		o.vector[0].SetLen(len(head))
		parts = 1
	}
	if len(rest) > 0 {
		o.vector[parts].Base = &rest[0]
		o.vector[parts].SetLen(len(rest))
		parts++
	}
	h.Iov = &o.vector[0]
	h.SetIovlen(parts)
	if control := o.control(); control != nil {
		h.Control = &control[0]
		h.SetControllen(len(control))
	}
	if len(o.name) > 0 {
		h.Name = &o.name[0]
		h.Namelen = uint32(len(o.name))
	}
	return len(head) + len(rest)
}

// receive reads one message.
func (i *incoming) receive(fd int, credentials bool) error {
	if i.whole {
		if err := i.makeRoom(fd); err != nil {
			return err
		}
	}
	i.describe(credentials)
	n, err := messageCall(unix.SYS_RECVMSG, fd, &i.header, receiveFlags, len(i.p))
	if err != nil {
		return err
	}
	h, control := &i.header, i.arriving.bytes()
	i.sender(i.name[:min(int(h.Namelen), len(i.name))])
	return i.settle(n, control[:min(int(h.Controllen), len(control))], int(h.Flags), credentials)
}

// describe fills in what recvmsg(2) has room for.
func (i *incoming) describe(credentials bool) {
	h := &i.header
	*h = unix.Msghdr{}
	if i.named {
		h.Name, h.Namelen = &i.name[0], uint32(len(i.name))
	}
	if len(i.p) > 0 {
		i.vector.Base = &i.p[0]
		i.vector.SetLen(len(i.p))
		h.Iov = &i.vector
		h.SetIovlen(1)
	}
	h.Control = &i.arriving.bytes()[0]
	h.SetControllen(roomFor(credentials))
}

// roomFor is how much control data may come with a message: room for as many descriptors as a
// message can have, whatever the caller wants. The kernel closes descriptors for which there is no
// room inside the system call, and a file of FUSE can delay that for long. The size is exact: with
// CMSG_SPACE, the padding behind the last descriptor could hold another one.
func roomFor(credentials bool) int {
	size := unix.CmsgLen(4 * MaxDescriptors)
	if credentials {
		size += unix.CmsgSpace(unix.SizeofUcred)
	}
	return size
}

// makeRoom makes p as long as the next packet, at which it peeks. It peeks without room for
// descriptors, since otherwise each peek would make new ones. For a packet beyond the limit p
// becomes empty, so that reading throws the packet away.
func (i *incoming) makeRoom(fd int) error {
	h := &i.header
	*h = unix.Msghdr{}
	size, err := messageCall(unix.SYS_RECVMSG, fd, h, unix.MSG_DONTWAIT|unix.MSG_PEEK|unix.MSG_TRUNC, 0)
	if err != nil {
		return err
	}
	switch {
	case size > i.limit:
		i.p = i.p[:0] // reading the packet will be ErrTruncated, or ErrDescriptorsLost
	case size > cap(i.p):
		i.p = make([]byte, size)
	default:
		i.p = i.p[:size]
	}
	return nil
}

// sender sets from to the address of a name, which is cached since it is mostly that of the message
// before.
func (i *incoming) sender(name []byte) {
	if i.cached == nil || string(name) != i.known {
		i.known = string(name)
		if i.cached, _ = transport.ParseSockaddr(name); i.cached == nil {
			i.cached = transport.UnixAddr("")
		}
	}
	i.from = i.cached
}

// rawMax is how many bytes a system call may copy without telling the scheduler: some tens of
// microseconds. With MSG_DONTWAIT a call never waits.
const rawMax = 256 << 10

func messageCall(trap uintptr, fd int, h *unix.Msghdr, flags uintptr, size int) (int, error) {
	var n uintptr
	var errno syscall.Errno
	if size <= rawMax { // x/sys would make a detour
		n, _, errno = syscall.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(h)), flags, 0, 0, 0)
	} else {
		n, _, errno = syscall.Syscall(trap, uintptr(fd), uintptr(unsafe.Pointer(h)), flags)
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// emptyCarries tells whether an empty message can carry descriptors.
func emptyCarries(kind int) bool { return kind != unix.SOCK_STREAM }

func noRoom(err error) bool { return again(err) }

// tellsRoom says that the system tells a connected datagram socket when there is room in its peer's
// queue.
const tellsRoom = true
