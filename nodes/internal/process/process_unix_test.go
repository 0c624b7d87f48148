//go:build unix

package process

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// sleeper is a process that runs until it is killed.
func sleeper(t *testing.T) *Process {
	t.Helper()
	p, err := Start(exec.Command("sleep", "1000"))
	require.NoError(t, err)
	t.Cleanup(p.End)
	return p
}

// hasExited waits for the end of a process.
func hasExited(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Exited:
	case <-time.After(20 * time.Second):
		t.Fatal("its end is not seen")
	}
}

func TestEndOfAChild(t *testing.T) {
	p, err := Start(exec.Command("sh", "-c", "exit 3"))
	require.NoError(t, err)
	hasExited(t, p)
	require.Equal(t, "exit status 3", p.Ended())
	p.End()

	q := sleeper(t)
	require.Equal(t, "it has not ended", q.Ended())
	q.Kill()
	hasExited(t, q)
	require.Contains(t, q.Ended(), "killed")
}

// A process whose handle cannot be asked ends all the same. With a limit of no descriptors, poll(2)
// refuses to look at any.
func TestEndWithoutPoll(t *testing.T) {
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	cmd := exec.Command("cat")
	cmd.Stdin = out
	p, err := Start(cmd)
	require.NoError(t, err)
	defer p.End()
	var before unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	none := before
	none.Cur = 0
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &none))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before)) }()
	require.NoError(t, in.Close())
	hasExited(t, p)
}

func TestRetireWaits(t *testing.T) {
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer in.Close()
	cmd := exec.Command("sh", "-c", "read line; exit 4")
	cmd.Stdin = out
	p, err := Start(cmd)
	require.NoError(t, err)
	require.NoError(t, out.Close())
	retired := make(chan struct{})
	go func() { defer close(retired); p.Retire(time.Hour) }()
	_, err = in.WriteString("go\n")
	require.NoError(t, err)
	<-retired
	require.Equal(t, "exit status 4", p.Ended())
}

// A process that has adopted another one sees its end, and can end it, with its handle or without.
func TestAdopt(t *testing.T) {
	for _, byHandle := range []bool{true, false} {
		p := sleeper(t)
		handle := -1
		if byHandle {
			if runtime.GOOS != "linux" {
				continue
			}
			var err error
			handle, err = unix.FcntlInt(uintptr(p.Descriptor()), unix.F_DUPFD_CLOEXEC, 3)
			require.NoError(t, err)
			require.True(t, IsHandle(handle))
		}
		q := Adopt(p.PID, handle)
		require.Equal(t, byHandle, q.Descriptor() >= 0)
		q.Watch()
		require.Equal(t, "it has not ended", q.Ended())
		q.End()
		hasExited(t, p)
		require.Equal(t, "it has ended", q.Ended())
		require.Negative(t, q.Descriptor())
	}
}

// The handle of a process that has ended is one still; another descriptor is none.
func TestIsHandle(t *testing.T) {
	p := sleeper(t)
	p.Kill()
	hasExited(t, p)
	require.Equal(t, runtime.GOOS == "linux", IsHandle(p.Descriptor()))
	out, in, err := os.Pipe()
	require.NoError(t, err)
	defer out.Close()
	defer in.Close()
	raw, err := out.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { require.False(t, IsHandle(int(fd))) }))
	require.False(t, IsHandle(-1))
}

// Release does not harm the process, and nothing waits for its end any more.
func TestRelease(t *testing.T) {
	p := sleeper(t)
	for _, handle := range []bool{true, false} {
		fd := -1
		if handle && runtime.GOOS == "linux" {
			var err error
			fd, err = unix.FcntlInt(uintptr(p.Descriptor()), unix.F_DUPFD_CLOEXEC, 3)
			require.NoError(t, err)
		}
		q := Adopt(p.PID, fd)
		q.Watch()
		q.Release()
	}
	require.Equal(t, "it has not ended", p.Ended())
	require.NoError(t, unix.Kill(p.PID, 0))
}

// A child that is released, and goes on by itself, leaves nothing behind here.
func TestReleaseOfAChild(t *testing.T) {
	before := leak.Descriptors()
	cmd := exec.Command("sleep", "1000")
	p, err := Start(cmd)
	require.NoError(t, err)
	other := Adopt(p.PID, -1)
	p.Release()
	require.Eventually(t, func() bool { return len(leak.Left(before)) == 0 }, 20*time.Second, time.Millisecond)
	other.Kill()
	_, err = unix.Wait4(p.PID, nil, 0, nil)
	require.NoError(t, err)
}

func TestPassFiles(t *testing.T) {
	a, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer a.Close()
	cmd := exec.Command("true")
	require.Equal(t, 3, PassFiles(cmd, a, a))
	require.Equal(t, 5, PassFiles(cmd, a))
	require.Len(t, cmd.ExtraFiles, 3)
}
