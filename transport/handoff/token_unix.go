//go:build unix

package handoff

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cnode-go/cnode/transport/handoff/internal/fault"
	"github.com/cnode-go/cnode/transport/internal/bind"
	"golang.org/x/sys/unix"
)

// A token is the pipe that decides which process is the owner. The old owner has both ends: only it
// writes, and it can read back what it has written.
type token struct{ r, w *os.File }

func newToken() (*token, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &token{r, w}, nil
}

// write puts the token into the pipe, which is empty before and so has room.
func (t *token) write() error {
	_, err := t.w.Write([]byte{1})
	return err
}

// takeBack reads the token, if it is still there. It closes the write end first: then reading an
// empty pipe returns end of file and does not block, even if the other process, which shares the
// read end, makes that a blocking one.
func (t *token) takeBack() (back bool, err error) {
	raw, err := t.r.SyscallConn()
	if err == nil {
		err = t.w.Close()
	}
	if err != nil {
		return false, err
	}
	t.w = nil
	e := raw.Control(func(fd uintptr) {
		// a child that is just being started has both ends until execve(2), so there may be no end
		// of file
		_ = unix.SetNonblock(int(fd), true)
		var b [1]byte
		var n int
		for {
			n, err = unix.Read(int(fd), b[:])
			if err != unix.EINTR {
				break
			}
		}
		back = n == 1
	})
	if e != nil {
		return false, e
	}
	if err == unix.EAGAIN {
		err = nil
	}
	return back, err
}

// close closes both ends; a new owner that has not read the token then reads end of file.
func (t *token) close() error {
	err := t.r.Close()
	if t.w != nil {
		err = errors.Join(t.w.Close(), err)
	}
	return err
}

// tokenReader makes a file of the one descriptor in a set, which must be the read end of a pipe.
func tokenReader(set *FDSet) (*os.File, error) {
	fd, err := set.Steal(0)
	if err != nil {
		return nil, fault.Malformed("no pipe for the token")
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFIFO {
		err = fault.Malformed("the token's descriptor is no pipe")
	}
	var flags int
	if err == nil {
		flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	}
	if err == nil && flags&unix.O_ACCMODE != unix.O_RDONLY {
		err = fault.Malformed("the token's pipe is not for reading")
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "token"), nil
}

// descriptorLimit is how many descriptors this process can take: want, or as many as its limit of
// open files allows if that is less, or if want is 0.
func descriptorLimit(want int) int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err == nil && uint64(r.Cur) < 1<<30 {
		own := 32
		if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
			own = len(entries) + 8
		}
		if free := max(int(r.Cur)-own, 0); want <= 0 || want > free {
			return free
		}
	}
	if want <= 0 {
		want = 1 << 20
	}
	return want
}

// lockDir checks the directory of a path, and keeps other ListenControl calls from listening there
// until unlock is called.
func lockDir(path string) (unlock func(), err error) {
	dir := filepath.Dir(path)
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	switch {
	case err != nil:
	case int(st.Uid) != os.Geteuid():
		err = fmt.Errorf("%w: %s belongs to user %d: %w", ErrForbidden, dir, st.Uid, syscall.EPERM)
	case st.Mode&0o077 != 0:
		err = fmt.Errorf("%w: %s is open to others (mode %#o)", ErrForbidden, dir, st.Mode&0o777)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	bind.Lock(fd)
	return func() { _ = unix.Close(fd) }, nil
}
