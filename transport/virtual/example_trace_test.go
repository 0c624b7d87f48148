package virtual_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// What a client says, in a log, and in a file that Wireshark reads: give the Transport to a node's
// configuration, and look at its handshakes and messages with
//
//	tshark -r FILE -d tcp.port==PORT,erldp -V
func ExampleTrace() {
	var file bytes.Buffer // usually an *os.File
	capture := virtual.NewCapture(&file)
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	tr := transport.NewMemory()
	ctx := context.Background()
	l, err := tr.Listen(transport.MemoryAddr("there"), 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	c, err := virtual.Trace(tr, virtual.TraceOptions{Log: log, Capture: capture}).Connect(ctx, l.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := c.Writev(ctx, []byte("Hello, "), []byte("world")); err != nil {
		fmt.Println(err)
	}
	if err := c.Close(); err != nil {
		fmt.Println(err)
	}
	if err := capture.Close(); err != nil { // then close the file
		fmt.Println(err)
	}
	fmt.Println("captured", bytes.Contains(file.Bytes(), []byte("Hello, ")))
	// Output:
	// level=DEBUG msg=connected conn=1 local=memory:client-1 remote=memory:there
	// level=DEBUG msg=sent conn=1 bytes=7 offset=0 data=48656c6c6f2c20
	// level=DEBUG msg=sent conn=1 bytes=5 offset=7 data=776f726c64
	// level=DEBUG msg=closed conn=1
	// captured true
}
