package upgrade

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

	"github.com/cnode-go/cnode/nodes"
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

// keep leaves a node with systemd, for the process that it starts next: nobody owns it meanwhile,
// and to its peers it is silent. See FileDescriptorStoreMax= in systemd.service(5).
func keep(ctx context.Context, n *nodes.Node) (err error) {
	room, _ := strconv.Atoi(os.Getenv("FDSTORE"))
	if room <= 0 || manager() == "" {
		return fmt.Errorf("systemd keeps no descriptors of this service (FDSTORE): %w", errors.ErrUnsupported)
	}
	frozen, err := n.Offer().Freeze(ctx)
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
		return fmt.Errorf("the node has %d descriptors, and a state, and systemd keeps %d (FileDescriptorStoreMax=)", len(fds), room)
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

// A kept is what systemd has kept of a node.
type kept struct {
	state  []byte
	fds    []int
	names  []string
	opened []int // the sockets that systemd has opened: the node has those that it listens on
}

// takeKept takes what systemd has kept out of what it has passed to this process; nil: nothing, or
// an error says what is wrong with it. The sockets that systemd has opened are left for Activate.
func takeKept() (*kept, error) {
	count, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || count != len(names) {
		return nil, nil
	}
	const first = 3
	k, at := &kept{}, map[string]int{}
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
		k.state, err = contents(f)
		delete(at, keptState)
	}
	for i := range len(at) {
		fd, ok := at[keptFD+strconv.Itoa(i)]
		if !ok && err == nil {
			err = fmt.Errorf("descriptor %d of %d is missing", i, len(at))
		}
		k.fds = append(k.fds, fd)
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

// restore goes on with the node. systemd forgets it once that is certain to be possible, and before
// anything happens to it: so if this process ends meanwhile, either the next one has all of it, or
// the connections end.
func (k *kept) restore(ctx context.Context, cfg nodes.Config) (*nodes.Node, error) {
	staged, err := nodes.Restore(cfg, k.state, k.fds)
	if err != nil {
		return nil, errors.Join(err, forget(k.names))
	}
	for _, fd := range k.opened {
		_ = unix.Close(fd)
	}
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if err := forget(k.names); err != nil {
		return nil, errors.Join(err, staged.Discard())
	}
	if err := staged.Start(ctx); err != nil {
		return nil, err
	}
	return staged.Node(), nil
}
