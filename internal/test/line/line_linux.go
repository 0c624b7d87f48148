package line

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	device  = "line0"
	mtu     = 1500
	backlog = 100 * time.Millisecond // of what the bucket's queue holds at the line's rate
	flying  = 1 << 14                // packets on the wire at most
)

// A Line connects two network namespaces. Close it.
type Line struct {
	ends  [2]*End
	cut   atomic.Bool
	most  atomic.Int64 // bytes of a packet
	wires sync.WaitGroup
}

// An End is one of the two namespaces.
type End struct {
	addr  string
	space *os.File // the namespace
	tun   *os.File // its device's packets
}

// Open makes the namespaces and the line between them. The error wraps ErrUnavailable where that
// cannot be had.
func Open(o Options) (*Line, error) {
	l := new(Line)
	l.Narrow(mtu)
	for i := range l.ends {
		e, err := newEnd(addresses[i], o.Rate)
		if err != nil {
			l.Close()
			return nil, err
		}
		l.ends[i] = e
	}
	for i, e := range l.ends {
		l.wires.Go(func() { l.carry(e.tun, l.ends[1-i].tun, o) })
	}
	return l, nil
}

// Close ends the line. The namespaces go with the last process and socket in them.
func (l *Line) Close() {
	for _, e := range l.ends {
		if e != nil {
			e.close()
		}
	}
	l.wires.Wait()
}

// Cut drops all packets from now on, as a cable does that somebody has pulled out elsewhere:
// neither end is told.
func (l *Line) Cut() { l.cut.Store(true) }

// Mend ends Cut.
func (l *Line) Mend() { l.cut.Store(false) }

// Narrow drops packets of more than so many bytes from now on, as a router on the way does whose
// word about it a firewall drops. mtu is what the ends take themselves, and have at first.
func (l *Line) Narrow(mtu int) { l.most.Store(int64(mtu)) }

// carry takes packets from one end to the other, each after half of the delay.
func (l *Line) carry(from, to *os.File, o Options) {
	after := o.Delay / 2
	type packet struct {
		due   time.Time
		bytes []byte
	}
	wire := make(chan packet, flying)
	l.wires.Go(func() {
		for p := range wire {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.bytes) // an end that has just closed takes none
		}
	})
	defer close(wire)
	buf := make([]byte, mtu)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if l.cut.Load() || int64(n) > l.most.Load() || o.Loss > 0 && rand.Float64() < o.Loss {
			continue
		}
		if after == 0 {
			_, _ = to.Write(buf[:n])
			continue
		}
		wire <- packet{time.Now().Add(after), append([]byte(nil), buf[:n]...)}
	}
}

func newEnd(addr string, rate int) (_ *End, err error) {
	e := &End{addr: addr}
	if e.space, err = newSpace(); err != nil {
		return nil, fmt.Errorf("%w: a network namespace: %w", ErrUnavailable, err)
	}
	if err := e.Do(func() error { return e.set(rate) }); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// newSpace makes a network namespace, which lives as long as the file is open, or a process in it
// runs.
func newSpace() (space *os.File, err error) {
	made := make(chan struct{})
	go func() {
		defer close(made)
		runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			space, err = os.Open(ownSpace)
		}
	}()
	<-made
	return space, err
}

// ownSpace is the network namespace of the thread that opens it. See proc_pid_ns(5).
const ownSpace = "/proc/thread-self/ns/net"

// set makes the device in the namespace that this thread is in, and its bucket.
func (e *End) set(rate int) (err error) {
	if e.tun, err = openTun(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	// a fiftieth of a second, or a few packets: the bucket is to be a line and not a lake
	burst := max(rate/8/50, 4*mtu)
	for _, line := range []string{
		"ip link set lo up",
		"ip addr add " + e.addr + "/30 dev " + device,
		"ip link set " + device + " mtu " + strconv.Itoa(mtu) + " up",
		fmt.Sprintf("tc qdisc add dev %s root tbf rate %dbit burst %db latency %dms", device, rate, burst, backlog.Milliseconds()),
	} {
		words := strings.Fields(line)
		program, err := exec.LookPath(words[0])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if said, err := exec.Command(program, words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", line, err, said)
		}
	}
	return nil
}

// openTun makes a device in the namespace that this thread is in. See the kernel's
// networking/tuntap.
func openTun() (*os.File, error) {
	const path = "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	request, err := unix.NewIfreq(device)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil // only now, for before there is nothing to poll
}

// Do calls f on a thread that is at this end: sockets that f makes itself, not by other goroutines,
// are there, and so are programs that it starts.
func (e *End) Do(f func() error) error {
	runtime.LockOSThread()
	here, err := os.Open(ownSpace)
	if err == nil {
		err = unix.Setns(int(e.space.Fd()), unix.CLONE_NEWNET)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("the namespace of %s: %w", e.addr, err)
	}
	defer func() {
		defer here.Close()
		if unix.Setns(int(here.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread() // else no other goroutine gets the thread
		}
	}()
	return f()
}

func (e *End) close() {
	if e.tun != nil {
		e.tun.Close()
	}
	e.space.Close()
}
