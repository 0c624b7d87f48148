//go:build unix

package virtual_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// told returns the two ends of a pair of UNIX sockets: s, to which words have been sent, and
// teller, which has sent them.
func told(words string) (s, teller *transport.Stream) {
	s, teller, err := transport.UnixPair()
	if err == nil {
		_, err = teller.Writev(context.Background(), []byte(words))
	}
	if err != nil {
		panic(err)
	}
	return s, teller
}

// A stream that no Transport has made, with a fault at a certain byte.
func ExampleFaultStream() {
	s, teller := told("one two")
	defer teller.Close()
	s, err := virtual.FaultStream(s, virtual.FaultOptions{At: []virtual.FaultAt{{Kind: virtual.FaultReset, Offset: 3}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	all, err := io.ReadAll(transport.NetConn(s))
	fmt.Printf("%s: %v\n", all, err)
	// Output:
	// one: read: injected reset at byte 3 of what was read on connection 1: connection reset by peer
}

// A pair of which one end reads 100 bytes a second.
func ExampleLimitStream() {
	s, teller := told("twelve bytes")
	defer teller.Close()
	s, err := virtual.LimitStream(s, virtual.LimitOptions{Read: 100, Burst: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	begin := time.Now()
	_, err = s.Readv(context.Background(), make([]byte, 12))
	fmt.Println(err, time.Since(begin) >= 100*time.Millisecond)
	// Output: <nil> true
}

// What passes on a pair, in a log.
func ExampleTraceStream() {
	s, teller := told("hello")
	defer teller.Close()
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	s, err := virtual.TraceStream(s, virtual.TraceOptions{Log: log.With("pair", "left")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	if _, err := s.Readv(context.Background(), make([]byte, 5)); err != nil {
		fmt.Println(err)
	}
	if _, err := s.Writev(context.Background(), []byte("you too")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// level=DEBUG msg=imported pair=left conn=1 local="" remote=""
	// level=DEBUG msg=received pair=left conn=1 bytes=5 offset=0 data=68656c6c6f
	// level=DEBUG msg=sent pair=left conn=1 bytes=7 offset=0 data=796f7520746f6f
	// level=DEBUG msg=closed pair=left conn=1
}
