package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// restartSignal is what systemd sends in place of SIGTERM where a unit says so, when the service is
// to be started again (RestartKillSignal=).
var restartSignal os.Signal = syscall.SIGUSR2

// What systemd keeps of a node: its state in a memory file, and its descriptors, each with a name
// of its own, since systemd does not keep their order.
const (
	keptState = "cnode-state"
	keptFD    = "cnode-fd-"
)

// keep leaves an owner with systemd, for the process that it starts next: nobody owns it meanwhile,
// and to its peers it is silent. See FileDescriptorStoreMax= in systemd.service(5).
func keep(ctx context.Context, o Owner) (err error) {
	room, _ := strconv.Atoi(os.Getenv("FDSTORE"))
	if room <= 0 || manager() == "" {
		return fmt.Errorf("systemd keeps no descriptors of this service (FDSTORE): %w", errors.ErrUnsupported)
	}
	frozen, err := o.Park(ctx)
	if err != nil {
		return err
	}
	var names []string
	defer func() {
		if err != nil {
			err = errors.Join(err, forget(names))
			frozen.Thaw()
		}
	}()
	fds := frozen.Descriptors()
	if len(fds) >= room {
		return fmt.Errorf("there are %d descriptors, and a state, and systemd keeps %d (FileDescriptorStoreMax=)", len(fds), room)
	}
	state, err := memoryFile(frozen.State())
	if err != nil {
		return err
	}
	defer state.Close()
	for i, fd := range append(slices.Clone(fds), int(state.Fd())) {
		name := keptState
		if i < len(fds) {
			name = keptFD + strconv.Itoa(i)
		}
		names = append(names, name)
		// without FDPOLL=0 a connection that its peer closes would be missing
		if err := send("FDSTORE=1\nFDPOLL=0\nFDNAME="+name+"\n", fd); err != nil {
			return err
		}
	}
	if err := barrier(); err != nil {
		return err
	}
	_ = frozen.Release() // it is not this process's any more, whatever it says
	return nil
}

func memoryFile(b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(keptState, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), keptState)
	if _, err := f.Write(b); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// forget has systemd close what it keeps under these names, and waits for that.
func forget(names []string) error {
	for _, name := range names {
		if err := Notify("FDSTOREREMOVE=1\nFDNAME=" + name + "\n"); err != nil {
			return err
		}
	}
	return barrier()
}

// takeKept takes what was parked for this process: by systemd, which has passed it on, or in place.
// nil: nothing was, or an error says what is wrong with it. The sockets that systemd has opened are
// left.
func takeKept() (*Kept, error) {
	if fds := os.Getenv(inPlaceVariable); fds != "" {
		return takeInPlace(fds)
	}
	count, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || count != len(names) {
		return nil, nil
	}
	const first = 3
	k, at := &Kept{}, map[string]int{}
	for i, name := range names {
		if name == keptState || strings.HasPrefix(name, keptFD) {
			unix.CloseOnExec(first + i)
			k.names, at[name] = append(k.names, name), first+i
			continue
		}
		k.opened = append(k.opened, first+i)
	}
	if len(at) == 0 {
		return nil, nil
	}
	// systemd passes what it has kept behind the sockets
	os.Setenv("LISTEN_FDS", strconv.Itoa(len(k.opened)))
	os.Setenv("LISTEN_FDNAMES", strings.Join(names[:len(k.opened)], ":"))
	if len(k.opened) == 0 {
		os.Unsetenv("LISTEN_PID")
	}
	f, ok := at[keptState]
	err := errors.New("there is no state")
	if ok {
		k.State, err = contents(f)
		delete(at, keptState)
	}
	for i := range len(at) {
		fd, ok := at[keptFD+strconv.Itoa(i)]
		if !ok && err == nil {
			err = fmt.Errorf("descriptor %d of %d is missing", i, len(at))
		}
		k.FDs = append(k.FDs, fd)
	}
	if err != nil {
		for _, fd := range at {
			_ = unix.Close(fd)
		}
		return nil, errors.Join(err, forget(k.names))
	}
	return k, nil
}

func contents(fd int) ([]byte, error) {
	f := os.NewFile(uintptr(fd), keptState)
	defer f.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}

// Forget has systemd close its own of the descriptors. A Maker calls it once it is certain that
// what was kept can go on, and before anything happens to it: so if this process ends meanwhile,
// either the next one has all of it, or the connections end. What systemd has opened for the first
// process is closed with them.
func (k *Kept) Forget() error {
	for _, fd := range k.opened {
		_ = unix.Close(fd)
	}
	if len(k.opened) > 0 {
		for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
			os.Unsetenv(name)
		}
	}
	k.opened = nil
	return forget(k.names)
}
