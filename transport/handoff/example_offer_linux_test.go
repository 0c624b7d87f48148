package handoff_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"

	"github.com/cnode-go/cnode/transport/handoff"
)

// A counter that listens: what it has is a number and a socket.
type counter struct {
	count byte
	l     *net.TCPListener
	fd    int
}

func (c *counter) State() []byte      { return []byte{c.count} }
func (c *counter) Descriptors() []int { return []int{c.fd} }
func (c *counter) Thaw()              {}                     // would accept again
func (c *counter) Release() error     { return c.l.Close() } // says nothing to anybody

// A heir is the same thing in the new process.
type heir struct {
	counter
	file *os.File
}

func (h *heir) Start(context.Context) error { // would accept from here on
	fmt.Println("the new owner counts on from", h.count)
	return nil
}

func (h *heir) Discard() error { return h.file.Close() }

// One process gives a listener and a number to another one. Here both are in one process, at the
// two ends of a channel; a process that is started gets its end as an extra file, and one that
// comes by itself dials a Control.
func ExampleOffer() {
	ctx := context.Background()
	ours, theirs, err := handoff.ChannelPair()
	if err != nil {
		log.Fatal(err)
	}
	defer ours.Close()

	took := make(chan error)
	go func() { // the new owner
		ch, err := handoff.FileChannel(theirs)
		if err != nil {
			took <- err
			return
		}
		defer ch.Close()
		h := &heir{}
		a := handoff.Acceptance{Stage: func(_ context.Context, state []byte, fds []int) (handoff.Staged, error) {
			h.count, h.file = state[0], os.NewFile(uintptr(fds[0]), "listener")
			return h, nil
		}}
		_, err = a.Take(ctx, ch)
		took <- err
		_ = h.file.Close()
	}()

	// the old owner
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		log.Fatal(err)
	}
	c := &counter{count: 41, l: l}
	raw, err := l.SyscallConn()
	if err != nil {
		log.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { c.fd = int(fd) }); err != nil {
		log.Fatal(err)
	}
	o := handoff.Offer{Freeze: func(context.Context) (handoff.Frozen, error) { return c, nil }}
	h, err := o.Give(ctx, ours)
	fmt.Println("moved:", h.Moved, err, <-took)
	// Output:
	// the new owner counts on from 41
	// moved: true <nil> <nil>
}
