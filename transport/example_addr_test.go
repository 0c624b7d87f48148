package transport_test

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

// An address is made from text, and its parts can be read. It never changes: WithPort returns
// another address.
func ExampleParseInet() {
	a, err := transport.ParseInet("ip", "2001:db8::1", 4369)
	if err != nil {
		fmt.Println(err)
		return
	}
	host, _ := transport.Host(a)
	port, _ := transport.Port(a)
	fmt.Println(a, host, port)

	b, _ := transport.WithPort(a, 4370)
	fmt.Println(b)

	_, err = transport.ParseInet("ipv4", "2001:db8::1", 4369)
	fmt.Println(errors.Is(err, syscall.EINVAL))
	_, err = transport.Port(transport.UnixAddr("/run/x.sock"))
	fmt.Println(errors.Is(err, syscall.EINVAL))
	// Output:
	// [2001:db8::1]:4369 2001:db8::1 4369
	// [2001:db8::1]:4370
	// true
	// true
}

// The memory image of a struct sockaddr is what a system call takes, or what another program sends.
func ExampleParseSockaddr() {
	a, _ := transport.FromUnixPath("/run/x.sock")
	b, err := transport.AppendSockaddr(nil, a)
	if err != nil {
		fmt.Println(err)
		return
	}
	again, err := transport.ParseSockaddr(b)
	fmt.Println(again, err)
	_, err = transport.ParseSockaddr(b[:1])
	fmt.Println(errors.Is(err, syscall.EINVAL))
	// Output:
	// unix:/run/x.sock <nil>
	// true
}
