package virtual_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// A carrier that splits a message, and then breaks. With Seed and probabilities instead of places
// it does so by chance, the same way every time.
func ExampleFault() {
	tr := virtual.Fault(transport.NewMemory(), virtual.FaultOptions{
		At: []virtual.FaultAt{
			{Kind: virtual.FaultSplit, Side: virtual.FaultAccepted, Offset: 5},
			{Kind: virtual.FaultReset, Side: virtual.FaultAccepted, Offset: 11},
		},
		Done: func(e virtual.FaultEvent) { fmt.Println("fault:", e) },
	})
	ctx := context.Background()
	l, err := tr.Listen(transport.MemoryAddr("there"), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	c, err := tr.Connect(ctx, l.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	s, err := l.Accept(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	if _, err := c.Writev(ctx, []byte("Hello, world and all")); err != nil {
		fmt.Println(err)
	}
	for b := make([]byte, 64); err == nil; {
		var n int
		n, err = s.Read(ctx, b)
		fmt.Printf("read %q\n", b[:n])
	}
	fmt.Println("reset:", errors.Is(err, syscall.ECONNRESET))
	// Output:
	// read "Hello"
	// fault: split at byte 5 of what was read on accepted connection 1
	// read ", worl"
	// fault: reset at byte 11 of what was read on accepted connection 1
	// read ""
	// reset: true
}
