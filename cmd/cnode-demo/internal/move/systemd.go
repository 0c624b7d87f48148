package move

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
)

// The variables by which systemd says where it listens for messages, and for whom.
const (
	notifyVariable  = "NOTIFY_SOCKET"
	watchdogTime    = "WATCHDOG_USEC"
	watchdogProcess = "WATCHDOG_PID"
)

// notifyLimit bounds how long a service manager that does not read keeps the node waiting.
const notifyLimit = time.Second

// NotifyManager tells systemd that the node is ready, and that this process is the one to watch:
// after an upgrade it is a new process. See sd_notify(3). A manager that hears nothing ends the
// service after a while, so a failure is reported on errOut.
func NotifyManager(errOut io.Writer) {
	if err := tellManager(fmt.Sprintf("READY=1\nMAINPID=%d\n", os.Getpid())); err != nil {
		fmt.Fprintf(errOut, "serve: the service manager was not told that the node is ready (NOTIFY_SOCKET): %v\n", err)
	}
}

// tellManager sends a message to systemd, and files with it, if it is there.
func tellManager(message string, files ...syscall.Conn) error {
	at := os.Getenv(notifyVariable)
	if at == "" {
		return nil
	}
	socket, err := net.Dial("unixgram", at)
	if err != nil {
		return err
	}
	c, err := handoff.NewConn(socket.(*net.UnixConn))
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), notifyLimit)
	defer cancel()
	return handoff.Lend(func(fds []int) error { return c.Send(ctx, []byte(message), fds...) }, files...)
}

// mainLimit bounds the wait for a service manager that is busy.
const mainLimit = 5 * time.Second

// makeMain tells systemd that another process of this service is the one to watch, and waits until
// it has heard that: from then on it sends that process what it sends to the service. See
// sd_notify_barrier(3).
func makeMain(pid int) error {
	if os.Getenv(notifyVariable) == "" {
		return nil
	}
	if err := tellManager(fmt.Sprintf("MAINPID=%d\n", pid)); err != nil {
		return err
	}
	heard, closes, err := os.Pipe()
	if err != nil {
		return err
	}
	defer heard.Close()
	err = tellManager("BARRIER=1", closes)
	if err = errors.Join(err, closes.Close(), heard.SetReadDeadline(time.Now().Add(mainLimit))); err != nil {
		return err
	}
	if _, err = heard.Read(make([]byte, 1)); err == io.EOF {
		return nil
	}
	return err
}

// Watched tells systemd that this process is alive, from now on at half the interval after which
// systemd would kill it, until stop: see WatchdogSec= in systemd.service(5).
func Watched() (stop func()) {
	interval := watchdogInterval()
	if interval <= 0 {
		return func() {}
	}
	over, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			_ = tellManager("WATCHDOG=1\n") // a manager that is busy hears of it next time
			select {
			case <-tick.C:
			case <-over:
				return
			}
		}
	}()
	return func() { close(over); <-told }
}

// watchdogInterval is how often systemd wants to hear of this process; 0: it does not. See
// sd_watchdog_enabled(3).
func watchdogInterval() time.Duration {
	if who := os.Getenv(watchdogProcess); who != "" && who != strconv.Itoa(os.Getpid()) {
		return 0
	}
	limit, err := strconv.ParseInt(os.Getenv(watchdogTime), 10, 64)
	if err != nil || limit <= 0 || limit > math.MaxInt64/int64(time.Microsecond) {
		return 0
	}
	return max(time.Duration(limit)*time.Microsecond/2, time.Millisecond)
}
