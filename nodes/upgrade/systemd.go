package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
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

// NotifyReady tells systemd that the node is ready, and that this process is the one to watch:
// after an upgrade it is a new process. A manager that hears nothing ends the service after a
// while.
func NotifyReady() error {
	return Notify(fmt.Sprintf("READY=1\nMAINPID=%d\n", os.Getpid()))
}

// Notify sends a message to systemd; without systemd it does nothing. A manager that does not read
// keeps it waiting for a second at most. See sd_notify(3).
func Notify(message string) error { return send(message) }

// send is Notify with descriptors.
func send(message string, fds ...int) error {
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
	return c.Send(ctx, []byte(message), fds...)
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
	if err := Notify(fmt.Sprintf("MAINPID=%d\n", pid)); err != nil {
		return err
	}
	return barrier()
}

// barrier waits until systemd has dealt with all that it was told. See sd_notify_barrier(3).
func barrier() error {
	heard, closes, err := os.Pipe()
	if err != nil {
		return err
	}
	defer heard.Close()
	err = handoff.Lend(func(fds []int) error { return send("BARRIER=1", fds...) }, closes)
	if err = errors.Join(err, closes.Close(), heard.SetReadDeadline(time.Now().Add(mainLimit))); err != nil {
		return err
	}
	if _, err = heard.Read(make([]byte, 1)); err == io.EOF {
		return nil
	}
	return err
}

// NotifyWatchdog tells systemd that this process is alive, from now on at half the interval after
// which systemd would kill it, until stop: see WatchdogSec= in systemd.service(5).
func NotifyWatchdog() (stop func()) {
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
			_ = Notify("WATCHDOG=1\n") // a manager that is busy hears of it next time
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
