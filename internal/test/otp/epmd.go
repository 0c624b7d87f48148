package otp

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/port"
)

// Epmd starts a port mapper of the first release on a free port of the loopback
// interface and returns the port. It is killed when the test ends.
func Epmd(t testing.TB) int {
	t.Helper()
	return Releases(t)[0].Epmd(t)
}

// Epmd starts a port mapper of this release, as [Epmd] does.
func (r Release) Epmd(t testing.TB, args ...string) int {
	t.Helper()
	port, stop, err := r.LaunchEpmd(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return port
}

// LaunchEpmd starts a port mapper on a free port of the loopback interface, with
// further arguments such as "-relaxed_command_check". It returns the port when the
// port mapper answers; stop kills it.
func (r Release) LaunchEpmd(args ...string) (number int, stop func(), err error) {
	// epmd cannot choose a port itself. Where a port cannot be reserved for it,
	// another program may take the port first.
	for range 5 {
		var release, kill func()
		var p *process
		if number, release, err = port.Reserve(); err != nil {
			return 0, nil, err
		}
		if p, kill, err = r.startEpmd(number, args); err != nil {
			release()
			return 0, nil, err
		}
		stop = sync.OnceFunc(func() { kill(); release() })
		if err = p.awaitEpmd(number); err == nil {
			return number, stop, nil
		}
		stop()
	}
	return 0, nil, err
}

// watched runs a program and kills it when the standard input ends.
const watched = `exec 3<&0
"$@" </dev/null 3<&- &
program=$!
{ read -r line; kill "$program"; } <&3 &
exec 3<&-
wait "$program"`

func (r Release) startEpmd(port int, args []string) (*process, func(), error) {
	dir, err := home()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", watched, "sh", r.Command("epmd"),
		"-port", strconv.Itoa(port), "-address", "127.0.0.1"}, args...)...)
	cmd.Env = environment(dir)
	cmd.Dir = dir
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	p, err := start(cmd, dir)
	if err != nil {
		return nil, nil, err
	}
	return p, func() { p.close(); hold.Close() }, nil
}

// awaitEpmd returns when the port mapper answers, or an error when it has ended.
func (p *process) awaitEpmd(port int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		err := namesRequest(ctx, port)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return p.failure("epmd on port %d: %s", port, p.ended())
		case <-ctx.Done():
			return p.failure("epmd on port %d does not answer: %w", port, err)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// namesRequest asks for the registered names; the answer begins with the port
// mapper's own port. See erl_dist_protocol, NAMES_REQ.
func namesRequest(ctx context.Context, port int) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := c.Write([]byte{0, 1, 'n'}); err != nil {
		return err
	}
	var answer [4]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return err
	}
	if got := binary.BigEndian.Uint32(answer[:]); got != uint32(port) {
		return fmt.Errorf("the port mapper says that its port is %d", got)
	}
	return nil
}
