// Carrier tells how many messages with a descriptor a second package handoff carries, over a UNIX
// socket of sequenced packets: the counterpart of the C program test/bench/c/scm_rate.c.
//
//	carrier turns SIZE MS N   one goroutine sends N messages with one call, and receives them
//	carrier ahead SIZE MS N   one process sends, N with a call, and another receives, up to N with a call
//
// N divides 64; with 1 the calls are Send and Receive, with more SendBatch and ReceiveBatch. The
// receiver closes each descriptor. It prints messages a second.
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
	var numbers [3]int
	if len(args) == 4 {
		for i, arg := range args[1:] {
			if numbers[i], err = strconv.Atoi(arg); err != nil {
				return 0, err
			}
		}
	}
	size, ms, many := numbers[0], numbers[1], numbers[2]
	if many < 1 || unclocked%many != 0 {
		return 0, errors.New("usage: carrier turns|ahead SIZE MS N")
	}
	c := course{out: make([]handoff.Packet, many), in: make([]handoff.Packet, many), length: time.Duration(ms) * time.Millisecond}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	for i := range many {
		c.out[i] = handoff.Packet{P: make([]byte, size), FDs: []int{int(null.Fd())}}
		c.in[i] = handoff.Packet{P: make([]byte, size), Set: new(handoff.FDSet), Room: 1}
	}
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
	out, in          []handoff.Packet
	length           time.Duration
}

// send sends all of out.
func (c *course) send(ctx context.Context) error {
	if len(c.out) == 1 {
		return c.sender.Send(ctx, c.out[0].P, c.out[0].FDs...)
	}
	_, err := c.sender.SendBatch(ctx, c.out)
	return err
}

// receive receives what is there, at least one message, and closes the descriptors.
func (c *course) receive(ctx context.Context) (n int, err error) {
	if len(c.in) == 1 {
		p := &c.in[0]
		if _, err := c.receiver.Receive(ctx, p.P, p.Set, p.Room); err != nil {
			return 0, err
		}
		return 1, p.Set.Close()
	}
	n, err = c.receiver.ReceiveBatch(ctx, c.in)
	for i := 0; i < n && err == nil; i++ {
		if err = c.in[i].Err; err == nil {
			err = c.in[i].Set.Close()
		}
	}
	return n, err
}

func (c *course) turns() (float64, error) {
	ctx := context.Background()
	begun, n := time.Now(), 0
	// once in any case: the process may stand still for longer
	for ; n == 0 || time.Since(begun) < c.length; n += unclocked {
		for out, in := 0, 0; out < unclocked; {
			if err := c.send(ctx); err != nil {
				return 0, err
			}
			for out += len(c.out); in < out; {
				k, err := c.receive(ctx)
				if err != nil {
					return 0, err
				}
				in += k
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
	_, err = c.receive(ctx)
	begun, n := time.Now(), 0
	for err == nil {
		var k int
		k, err = c.receive(ctx)
		n += k
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
		for out := 0; out < unclocked; out += len(c.out) {
			if err := c.send(ctx); err != nil {
				return err
			}
		}
		if time.Since(begun) >= c.length {
			return nil
		}
	}
}
