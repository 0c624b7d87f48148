package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
)

// The variables by which systemd says where it listens for messages, and for whom.
const (
	notifyVariable = "NOTIFY_SOCKET"
	// takenVariable has that address once this process has taken it, behind the number of the
	// process: what this one starts inherits the variable, and is not meant.
	takenVariable   = "CNODE_NOTIFY_SOCKET"
	watchdogTime    = "WATCHDOG_USEC"
	watchdogProcess = "WATCHDOG_PID"
)

// notifyLimit bounds how long a service manager that does not read keeps the node waiting.
const notifyLimit = time.Second

// manager is where systemd listens for this process; "": it has none. The first call takes the
// variables out of the environment, as sd_notify(3) recommends: a program that this one starts
// would else speak for the service, and one that says READY=1, as any node does that is made by
// this package, would become its main process.
func manager() string {
	self := strconv.Itoa(os.Getpid())
	if at := os.Getenv(notifyVariable); at != "" {
		_ = os.Setenv(takenVariable, self+" "+at)
		_ = os.Unsetenv(notifyVariable)
		if os.Getenv(watchdogTime) != "" && os.Getenv(watchdogProcess) == "" {
			_ = os.Setenv(watchdogProcess, self)
		}
		return at
	}
	who, at, _ := strings.Cut(os.Getenv(takenVariable), " ")
	if who != self {
		return ""
	}
	return at
}

// NotifyReady tells systemd that the node is ready, and that this process is the one to watch:
// after an upgrade it is a new process. It also ends a reload that Successor.Begin has announced. A
// manager that hears nothing ends the service after a while.
func NotifyReady() error {
	return Notify(fmt.Sprintf("READY=1\nMAINPID=%d\n", os.Getpid()))
}

// notifyReloading tells systemd that this process begins to reload what it has, and so that it has
// heard the signal of a unit with Type=notify-reload. NotifyReady, here or in the process that
// follows, is the end of that. See RELOADING=1 in sd_notify(3).
func notifyReloading() error {
	return Notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d\n", monotonic().Microseconds()))
}

// Notify sends a message to systemd; without systemd it does nothing. A manager that does not read
// keeps it waiting for a second at most. See sd_notify(3).
//
// NOTIFY_SOCKET is out of the environment from the first call of this package on, so that it does
// not reach what this process starts; only a Successor has it again. So other packages that look
// for it send nothing any more: send by this function.
func Notify(message string) error { return send(message) }

// send is Notify with descriptors.
func send(message string, fds ...int) error {
	at := manager()
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
	if manager() == "" {
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
	_ = manager() // which says for whom the variables are, if they do not
	if who := os.Getenv(watchdogProcess); who != "" && who != strconv.Itoa(os.Getpid()) {
		return 0
	}
	limit, err := strconv.ParseInt(os.Getenv(watchdogTime), 10, 64)
	if err != nil || limit <= 0 || limit > math.MaxInt64/int64(time.Microsecond) {
		return 0
	}
	return max(time.Duration(limit)*time.Microsecond/2, time.Millisecond)
}
