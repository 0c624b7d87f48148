//go:build unix

package handoff

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/queue"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/party"
	"github.com/cnode-go/cnode/transport"
)

// The test program, started again, is one side of a hand-off. The environment tells it what to do.
// It finds the channel at descriptor 3 and, as the old owner, sessions from descriptor 4 on, prints
// a report, and goes on until its standard input ends.
const (
	sideVariable   = "HANDOFF_TEST_SIDE" // owner, heir
	orderVariable  = "HANDOFF_TEST_ORDER"
	inFreeze       = handoffpoint.Point("owner: half frozen")
	halfReleased   = handoffpoint.Point("owner: half released")
	halfImported   = handoffpoint.Point("heir: half imported")
	allImported    = handoffpoint.Point("heir: all imported")
	halfThawed     = handoffpoint.Point("heir: half thawed")
	headLength     = 4
	questionLength = 8
	// bytes of the first question that have come
	halfLength     = headLength + questionLength/2 - 1
	greetingPart   = 8 << 10
	testPadding    = chunkSize + 1
	serveDeadline  = time.Minute
	leakPatience   = 20 * time.Second
	channelPolls   = 2 // epoll descriptors that a channel may have
	shortOfNumbers = 64
	// the other side waits that long; even on a busy machine a step needs less unless its side is
	// stopped
	stopDeadline    = 4 * time.Second
	descriptorFirst = 4
)

// An order is what a side has to do.
type order struct {
	Sessions int
	At       handoffpoint.Point // the point of Signal or NoFile
	Signal   syscall.Signal     // sent to itself; 0: none
	NoFile   bool               // run out of descriptors at that point, in place of the signal
	Short    bool               // all steps have short deadlines
	Padding  int                // bytes of state beside the sessions
	TCP      bool               // sessions are TCP connections; else UNIX streams
	// bytes sent first on each session; 0: none, and no half question has come
	Greeting int
}

// goroutines is how many a service has: for each session a reader, and with a greeting a writer
// that waits for room.
func (o order) goroutines() int {
	if o.Greeting > 0 {
		return 2 * o.Sessions
	}
	return o.Sessions
}

// A service answers questions on sessions: each answer is the question and the process's PID, which
// tells the asking side which process is the owner. On each session it first sends a greeting that
// is longer than the peer has room for.
type service struct {
	o       order
	all     []*session
	state   []byte
	reached func(handoffpoint.Point)
}

// A session is a connection of a service: except during a hand-off a goroutine reads from it, and
// bytes for which there is no room yet wait in its queue.
type session struct {
	fd   int
	s    *transport.Stream
	q    queue.Queue
	head [headLength]byte
	body [questionLength]byte
	part int // of the frame that is being read

	reading sync.WaitGroup
}

// newService makes a service of descriptors; halves has each session's state from another process.
func newService(ctx context.Context, o order, reached func(handoffpoint.Point), fds []int, halves [][2][]byte) (*service, error) {
	v := &service{o: o, reached: reached}
	tr := transport.Unix()
	if o.TCP {
		tr = transport.TCP()
	}
	for i, fd := range fds {
		if i == len(fds)/2 && halves != nil {
			reached(halfImported)
		}
		x := &session{fd: fd}
		var err error
		if x.s, err = tr.Import(fd, nil); err != nil {
			return nil, errors.Join(err, v.close(""), closeAll(fds[i:], true))
		}
		x.q = x.s.Posts(nil)
		v.all = append(v.all, x)
		if halves == nil {
			continue
		}
		err = x.s.PauseRead(ctx)
		if err == nil {
			err = x.s.Preload(halves[i][0])
		}
		if err == nil {
			err = x.q.Stage(ctx, halves[i][1])
		}
		if err != nil {
			return nil, errors.Join(err, v.close(""), closeAll(fds[i+1:], true))
		}
	}
	return v, nil
}

// next hands out the parts of a question.
func (x *session) next() ([][]byte, error) {
	x.part++
	switch x.part {
	case 1:
		return [][]byte{x.head[:]}, nil
	case 2:
		if n := binary.BigEndian.Uint32(x.head[:]); n != questionLength {
			return nil, fmt.Errorf("a question of %d bytes", n)
		}
		return [][]byte{x.body[:]}, nil
	}
	return nil, nil
}

func (v *service) start(x *session) {
	x.s.Resume()
	x.reading.Go(func() {
		for {
			x.part = 0
			if _, err := x.s.ReadPDU(context.Background(), x.next); err != nil {
				return
			}
			answer := binary.BigEndian.AppendUint64(x.body[:], uint64(os.Getpid()))
			if err := x.q.Post(context.Background(), answer, nil, 0); err != nil {
				return
			}
		}
	})
}

// greet starts all sessions, and waits until half a question has come and half a greeting has been
// sent on each.
func (v *service) greet() error {
	for i, x := range v.all {
		v.start(x)
		for at := 0; at < v.o.Greeting; at += greetingPart {
			if err := x.q.Post(context.Background(), greetingOf(i, at, min(greetingPart, v.o.Greeting-at)), nil, 0); err != nil {
				return err
			}
		}
	}
	begun := time.Now()
	for i := 0; i < len(v.all) && v.o.Greeting > 0; {
		pending, err := v.all[i].s.PendingBytes()
		waiting, sent := v.all[i].q.Buffered()
		switch {
		case err != nil:
			return err
		case pending == 0 && waiting > 0 && sent > 0:
			i++
		case time.Since(begun) > serveDeadline:
			return fmt.Errorf("session %d: %d bytes unread, %d unsent", i, pending, waiting)
		default:
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// greetingOf is a part of a session's greeting. Each byte tells its place.
func greetingOf(session, at, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((at+i)*251/250 + session)
	}
	return b
}

func (v *service) startAll(halfway handoffpoint.Point) {
	for i, x := range v.all {
		if i == len(v.all)/2 && halfway != "" {
			v.reached(halfway)
		}
		x.q.Unhold()
		v.start(x)
	}
}

func (v *service) freeze(ctx context.Context) (Frozen, error) {
	v.state = make([]byte, v.o.Padding)
	for i, x := range v.all {
		if i == len(v.all)/2 {
			v.reached(inFreeze)
		}
		err := v.stop(context.WithoutCancel(ctx), x)
		if err == nil && ctx.Err() != nil {
			i, err = i+1, ctx.Err()
		}
		if err != nil {
			for _, x := range v.all[:i] {
				x.q.Unhold()
				v.start(x)
			}
			return nil, fmt.Errorf("session %d: %w", i, err)
		}
	}
	return v, nil
}

// stop freezes a session; on failure the session goes on running.
func (v *service) stop(ctx context.Context, x *session) error {
	if err := x.s.PauseRead(ctx); err != nil {
		return err
	}
	x.reading.Wait()
	err := x.q.Hold(ctx)
	if err != nil {
		v.start(x)
		return err
	}
	_, ahead, err := x.s.Export()
	rest := x.q.Held()
	if err == nil && v.o.Greeting > 0 && (len(ahead) != halfLength || len(rest) == 0 || len(rest) == v.o.Greeting) {
		err = fmt.Errorf("%d bytes read and %d unsent, in place of halves", len(ahead), len(rest))
	}
	if err != nil {
		x.q.Unhold()
		v.start(x)
		return err
	}
	for _, p := range [][]byte{ahead, rest} {
		v.state = append(binary.BigEndian.AppendUint32(v.state, uint32(len(p))), p...)
	}
	return nil
}

func (v *service) State() []byte { return v.state }

func (v *service) Descriptors() (fds []int) {
	for _, x := range v.all {
		fds = append(fds, x.fd)
	}
	return fds
}

func (v *service) Thaw() { v.startAll("") }

func (v *service) Release() error { return v.close(halfReleased) }

func (v *service) close(halfway handoffpoint.Point) error {
	var errs []error
	for i, x := range v.all {
		if i == len(v.all)/2 && halfway != "" {
			v.reached(halfway)
		}
		errs = append(errs, x.s.Release())
		x.q.End(ErrNotTaken)
	}
	v.all = nil
	return errors.Join(errs...)
}

func (v *service) Start(context.Context) error {
	v.startAll(halfThawed)
	return nil
}
func (v *service) Discard() error { return v.close("") }

// stage imports sessions.
func (v *service) stage(ctx context.Context, state []byte, fds []int) (Staged, error) {
	var halves [][2][]byte
	for rest := state[v.o.Padding:]; len(rest) > 0; {
		var both [2][]byte
		for i := range both {
			n := binary.BigEndian.Uint32(rest)
			both[i], rest = rest[4:4+n], rest[4+n:]
		}
		halves = append(halves, both)
	}
	if len(halves) != len(fds) {
		return nil, errors.Join(fmt.Errorf("%d descriptors, %d sessions", len(fds), len(halves)), closeAll(fds, true))
	}
	for _, fd := range fds {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); fd < 3 || err != nil || flags&unix.FD_CLOEXEC == 0 {
			return nil, fmt.Errorf("descriptor %d: flags %d, %v", fd, flags, err)
		}
	}
	n, err := newService(ctx, v.o, v.reached, fds, halves)
	if err != nil {
		return nil, err
	}
	v.reached(allImported)
	return n, nil
}

// runSide is the main function of a side.
func runSide(side string) int {
	var o order
	err := json.Unmarshal([]byte(os.Getenv(orderVariable)), &o)
	switch {
	case err != nil:
	default:
		err = o.run(side, party.NewSide())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, side, err)
		return 2
	}
	return 0
}

func (o order) run(side string, test *party.Side) error {
	r := party.Report{PID: os.Getpid()}
	reached := func(p handoffpoint.Point) {
		switch {
		case p != o.At:
		case o.NoFile:
			if err := o.exhaust(); err != nil {
				panic(err)
			}
		default:
			party.Hit(o.Signal)
		}
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	each := serveDeadline // no step should run into it, even on a busy machine
	if o.Short {
		each = stopDeadline
	}
	d := Deadlines{each, each, each, each, each, each, each}
	var fds []int
	for i := range o.Sessions {
		if side == "owner" {
			fds = append(fds, descriptorFirst+i)
			unix.CloseOnExec(descriptorFirst + i)
		}
	}
	s, err := newService(context.Background(), o, reached, fds, nil)
	if err != nil {
		return err
	}
	ch, err := FileChannel(os.NewFile(3, "channel"))
	if err != nil {
		return err
	}
	if err := s.greet(); err != nil {
		return err
	}
	if err := test.Ready(); err != nil {
		return err
	}
	open, running := len(openDescriptorsNow()), runtime.NumGoroutine()
	if side == "owner" {
		h, err := (&Offer{
			Static: func(context.Context) ([]byte, error) { return make([]byte, o.Padding), nil },
			Freeze: s.freeze, Deadlines: d,
		}).Give(handoffpoint.With(context.Background(), reached), ch)
		r.Owner, r.Err = !h.Moved, fmt.Sprint(err)
	} else {
		taken, err := (&Acceptance{Stage: s.stage, Deadlines: d}).Take(handoffpoint.With(context.Background(), reached), ch)
		r.Owner, r.Err = taken.Owns, fmt.Sprint(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	switch {
	case side == "owner" && !r.Owner:
		open, running = open-o.Sessions, running-o.goroutines()
	case side == "heir" && r.Owner:
		open, running = open+o.Sessions, running+o.goroutines()
	}
	polls, more := 0, channelPolls
	if r.Owner { // one for each reader, and one for each writer that may have slept
		polls, more = o.Sessions, o.goroutines()-o.Sessions+channelPolls
		running++ // what wakes readers that have been idle for long: they share an epoll descriptor
	}
	r.Leak = "?"
	for begin := time.Now(); r.Leak != "" && time.Since(begin) < leakPatience; time.Sleep(time.Millisecond) {
		r.Leak = ""
		if now := openDescriptorsNow(); len(now) != open {
			r.Leak = fmt.Sprintf("%d descriptors, and %d are due: %s", len(now), open, strings.Join(now, ", "))
		} else if now := runtime.NumGoroutine(); now > running {
			r.Leak = fmt.Sprintf("%d goroutines, and %d are due", now, running)
		} else if now := leak.Polls(); now > polls+more {
			r.Leak = fmt.Sprintf("%d epoll descriptors, and %d at most are due", now, polls+more)
		}
	}
	return errors.Join(test.Tell(r), ch.Close(), test.Stay())
}

// exhaust leaves free descriptor numbers for some of many sessions, and none if there are few
// sessions.
func (o order) exhaust() error {
	var r unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	if err != nil {
		return err
	}
	if r.Cur = shortOfNumbers; o.Sessions < shortOfNumbers {
		free, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		setLimit(&r.Cur, free)
		if err := unix.Close(free); err != nil {
			return err
		}
	}
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &r)
}

// setLimit sets a number whose type differs between systems.
func setLimit[N int64 | uint64](to *N, n int) { *to = N(n) }

// openDescriptorsNow lists the open descriptors of this process, except the runtime's own.
func openDescriptorsNow() (list []string) {
	for fd, target := range leak.Descriptors() {
		if n, err := strconv.Atoi(fd); err == nil && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/proc/") {
			list = append(list, strconv.Itoa(n)+" "+target)
		}
	}
	return list
}
