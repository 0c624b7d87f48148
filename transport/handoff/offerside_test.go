//go:build unix

package handoff

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The test program started again is one side of a hand-off. It is told by the environment what to do, finds the channel under number 3 and, as the old owner, sessions from 4 on,
// prints a report, and goes on until its standard input ends.
const (
	sideVariable    = "HANDOFF_TEST_SIDE" // owner, heir
	orderVariable   = "HANDOFF_TEST_ORDER"
	inFreeze        = Point("owner: half frozen")
	halfReleased    = Point("owner: half released")
	halfImported    = Point("heir: half imported")
	allImported     = Point("heir: all imported")
	halfThawed      = Point("heir: half thawed")
	questionLength  = 8
	testPadding     = 2 * chunkSize
	serveDeadline   = 20 * time.Second
	leakPatience    = 5 * time.Second
	shortOfNumbers  = 64
	stopDeadline    = 1500 * time.Millisecond
	descriptorFirst = 4
)

// An order is what a side is to do.
type order struct {
	Sessions int
	At       Point          // where it happens
	Signal   syscall.Signal // that it sends to itself; 0: none
	NoFile   bool           // at that point it runs out of descriptors, in place of the signal
	Short    bool           // all steps have short deadlines
	Padding  int            // bytes of state beside the sessions
}

// A report is what a side says when the hand-off is over.
type report struct {
	PID   int
	Owner bool
	Err   string
	Leak  string
}

// A service answers questions on sessions: each with the question and its process's number. So whoever asks can tell who owns.
type service struct {
	o       order
	fds     []int
	files   []*os.File
	running sync.WaitGroup
	reached func(Point)
}

func newService(o order, reached func(Point), fds []int) (*service, error) {
	s := &service{o: o, fds: fds, reached: reached}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, err
		}
		s.files = append(s.files, os.NewFile(uintptr(fd), "session"))
	}
	return s, nil
}

func (s *service) start(f *os.File) {
	_ = f.SetReadDeadline(time.Time{})
	s.running.Go(func() {
		var b [2 * questionLength]byte
		for {
			n, err := f.Read(b[:questionLength])
			if err != nil || n != questionLength {
				return
			}
			binary.BigEndian.PutUint64(b[questionLength:], uint64(os.Getpid()))
			if _, err := f.Write(b[:]); err != nil {
				return
			}
		}
	})
}

func (s *service) startAll(halfway Point) {
	for i, f := range s.files {
		if i == len(s.files)/2 && halfway != "" {
			s.reached(halfway)
		}
		s.start(f)
	}
}

func (s *service) freeze(context.Context) (Frozen, error) {
	for i, f := range s.files {
		if i == len(s.files)/2 {
			s.reached(inFreeze)
		}
		_ = f.SetReadDeadline(time.Unix(1, 0))
	}
	s.running.Wait()
	return s, nil
}

func (s *service) State() []byte {
	return binary.BigEndian.AppendUint64(make([]byte, s.o.Padding), uint64(len(s.fds)))
}
func (s *service) Descriptors() []int { return s.fds }
func (s *service) Thaw()              { s.startAll("") }

func (s *service) Release() error { return s.close(halfReleased) }

func (s *service) close(halfway Point) error {
	var errs []error
	for i, f := range s.files {
		if i == len(s.files)/2 && halfway != "" {
			s.reached(halfway)
		}
		errs = append(errs, f.Close())
	}
	s.files, s.fds = nil, nil
	return errors.Join(errs...)
}

func (s *service) Start(context.Context) error {
	s.startAll(halfThawed)
	return nil
}
func (s *service) Discard() error { return s.close("") }

// stage imports sessions.
func (s *service) stage(_ context.Context, state []byte, fds []int) (Staged, error) {
	n := binary.BigEndian.Uint64(state[len(state)-8:])
	if int(n) != len(fds) {
		_ = closeAll(fds)
		return nil, fmt.Errorf("%d descriptors, %d sessions", len(fds), n)
	}
	for i, fd := range fds {
		if i == len(fds)/2 {
			s.reached(halfImported)
		}
		if fd < 3 {
			return nil, fmt.Errorf("descriptor %d", fd)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			return nil, fmt.Errorf("descriptor %d: flags %d, %v", fd, flags, err)
		}
	}
	n2, err := newService(s.o, s.reached, fds)
	if err != nil {
		return nil, err
	}
	*s = service{o: s.o, reached: s.reached, fds: n2.fds, files: n2.files}
	s.reached(allImported)
	return s, nil
}

// runSide is the main function of a side.
func runSide(side string) int {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(orderVariable)), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	r, err := o.run(side)
	if err != nil {
		fmt.Fprintln(os.Stderr, side, err)
		return 2
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return 3
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func (o order) run(side string) (r report, err error) {
	r.PID = os.Getpid()
	reached := func(p Point) {
		switch {
		case p != o.At:
		case o.NoFile:
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: shortOfNumbers, Max: shortOfNumbers}); err != nil {
				panic(err)
			}
		default:
			_ = syscall.Kill(os.Getpid(), o.Signal)
			time.Sleep(time.Millisecond) // a signal to oneself comes before the call returns, to one thread of several
		}
	}
	var d Deadlines
	if o.Short {
		d = Deadlines{stopDeadline, stopDeadline, stopDeadline, stopDeadline, stopDeadline, stopDeadline, stopDeadline}
	}
	var fds []int
	for i := range o.Sessions {
		if side == "owner" {
			fds = append(fds, descriptorFirst+i)
			unix.CloseOnExec(descriptorFirst + i)
		}
	}
	s, err := newService(o, reached, fds)
	if err != nil {
		return r, err
	}
	ch, err := FileChannel(os.NewFile(3, "channel"))
	if err != nil {
		return r, err
	}
	s.startAll("")
	open, running := len(openDescriptorsNow()), runtime.NumGoroutine()
	if side == "owner" {
		h, err := (&Offer{
			Static: func(context.Context) ([]byte, error) { return make([]byte, o.Padding), nil },
			Freeze: s.freeze, Deadlines: d, Reached: reached,
		}).Give(context.Background(), ch)
		r.Owner, r.Err = !h.Moved, fmt.Sprint(err)
	} else {
		_, err := (&Acceptance{Stage: s.stage, Deadlines: d, Reached: reached}).Take(context.Background(), ch)
		var h *HandoffError
		r.Owner, r.Err = err == nil || errors.As(err, &h) && h.Owns, fmt.Sprint(err)
	}
	switch {
	case side == "owner" && !r.Owner:
		open, running = open-o.Sessions, running-o.Sessions
	case side == "heir" && r.Owner:
		open, running = open+o.Sessions, running+o.Sessions
	}
	r.Leak = "?"
	for begin := time.Now(); r.Leak != "" && time.Since(begin) < leakPatience; time.Sleep(time.Millisecond) {
		r.Leak = ""
		if now := openDescriptorsNow(); len(now) != open {
			r.Leak = fmt.Sprintf("%d descriptors, and %d are due: %s", len(now), open, strings.Join(now, ", "))
		} else if now := runtime.NumGoroutine(); now != running {
			r.Leak = fmt.Sprintf("%d goroutines, and %d are due", now, running)
		}
	}
	return r, ch.Close()
}

// openDescriptorsNow lists what this process has open, the runtime's own aside.
func openDescriptorsNow() (list []string) {
	for fd, target := range openDescriptors() {
		if n, err := strconv.Atoi(fd); err == nil && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/proc/") {
			list = append(list, strconv.Itoa(n)+" "+target)
		}
	}
	return list
}
