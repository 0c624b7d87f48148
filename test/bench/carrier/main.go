// Carrier tells how many messages with a descriptor a second package handoff carries, over a UNIX
// socket of sequenced packets: the counterpart of the C program test/bench/c/scm_rate.c.
//
//	carrier turns SIZE MS   one goroutine sends and receives in turn
//	carrier ahead SIZE MS   one process sends, and another receives
//
// The receiver closes each descriptor. It prints messages a second.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/cnode-go/cnode/transport/handoff"
)

const unclocked = 64 // messages between two looks at the clock

func main() {
	rate, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "carrier:", err)
		os.Exit(1)
	}
	if rate > 0 {
		fmt.Printf("%.0f\n", rate)
	}
}

func run(args []string) (rate float64, err error) {
	if len(args) != 3 {
		return 0, errors.New("usage: carrier turns|ahead SIZE MS")
	}
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return 0, err
	}
	ms, err := strconv.Atoi(args[2])
	if err != nil {
		return 0, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	c := course{out: make([]byte, size), in: make([]byte, size), fd: int(null.Fd()), length: time.Duration(ms) * time.Millisecond}
	if args[0] == "send" { // the other process of ahead
		return 0, c.sendAhead()
	}
	one, other, err := handoff.PacketPair()
	if err != nil {
		return 0, err
	}
	if c.receiver, err = connection(other); err != nil {
		return 0, errors.Join(err, one.Close())
	}
	defer c.receiver.Close()
	if args[0] == "ahead" {
		return c.ahead(one, args[1:])
	}
	if c.sender, err = connection(one); err != nil {
		return 0, err
	}
	defer c.sender.Close()
	return c.turns()
}

// connection makes a handoff.Conn of f, which it owns from then on.
func connection(f *os.File) (*handoff.Conn, error) {
	unix, err := handoff.FileConn(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return handoff.NewConn(unix)
}

// A course is one run.
type course struct {
	sender, receiver *handoff.Conn
	out, in          []byte
	fd               int
	set              handoff.FDSet
	length           time.Duration
}

func (c *course) send(ctx context.Context) error { return c.sender.Send(ctx, c.out, c.fd) }

// receive receives a message, and closes the descriptor.
func (c *course) receive(ctx context.Context) error {
	if _, err := c.receiver.Receive(ctx, c.in, &c.set, 1); err != nil {
		return err
	}
	return c.set.Close()
}

func (c *course) turns() (float64, error) {
	ctx := context.Background()
	begun, n := time.Now(), 0
	// once in any case: the process may stand still for longer
	for ; n == 0 || time.Since(begun) < c.length; n += unclocked {
		for range unclocked {
			if err := c.send(ctx); err != nil {
				return 0, err
			}
			if err := c.receive(ctx); err != nil {
				return 0, err
			}
		}
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}

// ahead starts the sending process and counts what comes.
func (c *course) ahead(one *os.File, args []string) (float64, error) {
	cmd := exec.Command(os.Args[0], append([]string{"send"}, args...)...)
	cmd.ExtraFiles, cmd.Stderr = []*os.File{one}, os.Stderr
	err := cmd.Start()
	_ = one.Close()
	if err != nil {
		return 0, err
	}
	ctx := context.Background()
	err = c.receive(ctx)
	begun, n := time.Now(), 0
	for err == nil {
		if err = c.receive(ctx); err == nil {
			n++
		}
	}
	took := time.Since(begun)
	if err == io.EOF {
		err = nil
	}
	return float64(n) / took.Seconds(), errors.Join(err, cmd.Wait())
}

// sendAhead is the sending process: its end is descriptor 3.
func (c *course) sendAhead() (err error) {
	if c.sender, err = connection(os.NewFile(3, "pair")); err != nil {
		return err
	}
	defer c.sender.Close()
	ctx := context.Background()
	for begun := time.Now(); ; {
		for range unclocked {
			if err := c.send(ctx); err != nil {
				return err
			}
		}
		if time.Since(begun) >= c.length {
			return nil
		}
	}
}
