package virtual_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/tsocket"
	"github.com/cnode-go/cnode/transport/tsocket/virtual"
)

// A UDP socket that talks to itself.
func toItself() *tsocket.Datagram {
	at, err := transport.ParseInet("ipv4", "127.0.0.1", 0)
	if err != nil {
		panic(err)
	}
	d, err := tsocket.OpenUDP(at, nil)
	if err != nil {
		panic(err)
	}
	return d
}

// A socket that gets one ECONNREFUSED, and whose second datagram comes late. With Seed and
// probabilities instead of places these faults happen by chance, the same way every time.
func ExampleFault() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	d := virtual.Fault(toItself(), virtual.FaultOptions{
		At: []virtual.FaultAt{
			{Kind: virtual.FaultRefuse, Write: true, Offset: 1},
			{Kind: virtual.FaultDelay, Offset: 1, For: 10 * time.Millisecond},
		},
		Done: func(e virtual.FaultEvent) { fmt.Println("fault:", e) },
	})
	defer d.Close()
	for _, words := range []string{"one", "two", "two again"} {
		_, err := d.SendTo(ctx, []byte(words), d.LocalAddr())
		fmt.Println(words, errors.Is(err, syscall.ECONNREFUSED))
	}
	p := make([]byte, 100)
	for range 2 {
		n, _, err := d.RecvFrom(ctx, p)
		fmt.Println(string(p[:n]), err)
	}
	// Output:
	// one false
	// fault: refuse of datagram 1 of what was written
	// two true
	// two again false
	// one <nil>
	// fault: delay for 10ms of datagram 1 of what was read
	// two again <nil>
}

// A socket that sends 1000 bytes a second, after a burst of 100: the second datagram waits for a
// byte of room, the third one until the second is paid for.
func ExampleLimit() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	d := virtual.Limit(toItself(), virtual.LimitOptions{Write: 1000, Burst: 100})
	defer d.Close()
	begin := time.Now()
	for range 3 {
		if _, err := d.SendTo(ctx, make([]byte, 100), d.LocalAddr()); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(time.Since(begin) >= 100*time.Millisecond)
	// Output: true
}

// What passes, in a log; with a Capture, in a file that Wireshark reads, too.
func ExampleTrace() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			switch a.Key {
			case slog.TimeKey, "local", "from", "to":
				return slog.Attr{}
			}
			return a
		},
	}))
	d := virtual.Trace(toItself(), virtual.TraceOptions{Log: log.With("socket", "mine")})
	if _, err := d.SendTo(ctx, []byte("hello"), d.LocalAddr()); err != nil {
		fmt.Println(err)
	}
	if _, _, err := d.RecvFrom(ctx, make([]byte, 100)); err != nil {
		fmt.Println(err)
	}
	if err := d.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// level=DEBUG msg=opened socket=mine remote=""
	// level=DEBUG msg=sent socket=mine bytes=5 data=68656c6c6f
	// level=DEBUG msg=received socket=mine bytes=5 cut=false data=68656c6c6f
	// level=DEBUG msg=closed socket=mine
}
