package virtual_test

import (
	"context"
	"fmt"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// A node over a slow line: give the Transport to its configuration. Here 3000 bytes take two
// seconds at 1000 bytes a second, after a burst of 1000.
func ExampleLimit() {
	tr := virtual.Limit(transport.NewMemory(), virtual.LimitOptions{Write: 1000, Burst: 1000})
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
	begin := time.Now()
	n, err := c.Writev(ctx, make([]byte, 3000))
	fmt.Println(n, err, time.Since(begin) >= 1900*time.Millisecond)
	// Output: 3000 <nil> true
}
