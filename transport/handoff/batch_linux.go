package handoff

import (
	"syscall"
	"unsafe"

	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"golang.org/x/sys/unix"
)

// batchMost is the most packets that one system call takes; a higher limit would save little.
const batchMost = 16

// batches holds the structures for sendmmsg(2) and recvmmsg(2). They are made on first use, because
// they are large and few Conns need them.
type batches struct{ out, in *batch }

type batch struct {
	headers [batchMost]multiHeader
	vectors [batchMost]unix.Iovec
	control [batchMost]ancillary
}

// multiHeader is struct mmsghdr: see sendmmsg(2).
type multiHeader struct {
	unix.Msghdr
	n uint32 // bytes sent or received
}

// one fills in the header of the packet at index i, with a number of bytes of control data.
func (b *batch) one(i int, p []byte, control int) {
	h := &b.headers[i]
	*h = multiHeader{}
	if len(p) > 0 {
		v := &b.vectors[i]
		v.Base = &p[0]
		v.SetLen(len(p))
		h.Iov = v
		h.SetIovlen(1)
	}
	if control > 0 {
		h.Control = &b.control[i].bytes()[0]
		h.SetControllen(control)
	}
}

// forget drops the references to the callers' memory.
func (b *batch) forget(n int) {
	for i := range b.vectors[:n] {
		b.vectors[i].Base = nil
	}
}

// call makes the system call for the first n packets, without telling the scheduler: flags keep the
// call from waiting.
func (b *batch) call(trap uintptr, fd, n int, flags uintptr) (int, syscall.Errno) {
	done, _, errno := syscall.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(b)), uintptr(n), flags, 0, 0)
	return int(done), errno
}

// inOneCall tells how many packets one system call may take without telling the scheduler. It is 0
// in place of 1: a single packet goes the ordinary way.
func inOneCall(packets []Packet, fits func(p *Packet) bool) (n int) {
	size := 0
	for n < min(len(packets), batchMost) {
		p := &packets[n]
		if size += len(p.P); size > rawMax || !fits(p) {
			break
		}
		n++
	}
	if n == 1 {
		return 0
	}
	return n
}

// sendMany sends as many of packets as it can without waiting; the caller has the turn. If n is 0,
// full says that the peer had no room.
func (c *Conn) sendMany(packets []Packet) (n int, full bool, err error) {
	if !c.alone.open() {
		return 0, false, nil
	}
	n = inOneCall(packets, func(p *Packet) bool { return sendable(p.FDs) == nil })
	if n == 0 {
		return 0, false, nil
	}
	if c.many.out == nil {
		c.many.out = new(batch)
	}
	b := c.many.out
	for i := range packets[:n] {
		p, a := &packets[i], &b.control[i]
		a.put(p.FDs)
		b.one(i, p.P, a.used)
	}
	sent, errno := b.call(unix.SYS_SENDMMSG, c.alone.fd, n, sendFlags)
	b.forget(n)
	switch {
	case errno == 0:
		return sent, false, nil
	case noRoom(errno):
		return 0, true, nil
	case interrupted(errno), errno == unix.ENOSYS, errno == unix.EPERM: // a sandbox may forbid it
		return 0, false, nil
	}
	c.resets(errno)
	return 0, false, errno
}

// receiveMany receives the packets that are there; the caller has the turn. If n is 0, none says
// that there was no packet.
func (c *Conn) receiveMany(packets []Packet) (n int, none bool, err error) {
	if !c.alone.open() {
		return 0, false, nil
	}
	n = inOneCall(packets, func(*Packet) bool { return true })
	if n == 0 {
		return 0, false, nil
	}
	if c.many.in == nil {
		c.many.in = new(batch)
	}
	b, credentials := c.many.in, c.credentials.Load()
	for i := range packets[:n] {
		b.one(i, packets[i].P, roomFor(credentials))
	}
	came, errno := b.call(unix.SYS_RECVMMSG, c.alone.fd, n, receiveFlags)
	b.forget(n)
	switch {
	case again(errno):
		return 0, true, nil
	case interrupted(errno), errno == unix.ENOSYS, errno == unix.EPERM, errno != 0 && c.resets(errno):
		return 0, false, nil
	case errno != 0:
		// nothing came: c.in still holds an earlier message
		return 0, false, fault.Failed("receive", c.peer, errno)
	}
	last := c.lastCome(b, came)
	i := &c.in
	defer func() { i.p = nil }()
	for n = range last {
		p, h := &packets[n], &b.headers[n]
		control := b.control[n].bytes()
		i.begin(wanted{p: p.P, room: p.Room})
		err := i.settle(int(h.n), control[:min(int(h.Controllen), len(control))], int(h.Flags), credentials)
		if err = c.deliver(p, err); err == nil {
			continue
		}
		if n == last-1 {
			return n, false, err
		}
		p.N, p.Err = 0, nil
	}
	return last, false, nil
}

// lastCome returns how many of the packets that came are to be delivered. At the end of a
// connection the system returns as many empty packets as were asked for: they are one. An empty
// packet with others behind it is not the end.
func (c *Conn) lastCome(b *batch, came int) int {
	for ; came > 1 && c.kind == syscall.SOCK_SEQPACKET; came-- {
		h := &b.headers[came-1]
		if h.n != 0 || h.Controllen != 0 || h.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			break
		}
	}
	return came
}
