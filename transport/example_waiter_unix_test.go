//go:build unix

package transport_test

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// The Read callback of a plug-in with FullImpl, over a descriptor of its own: it waits, up to tmo,
// without occupying a thread.
func ExampleWaiter() {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fd, peer := pair[0], pair[1]
	defer unix.Close(fd)
	defer unix.Close(peer)
	if err := unix.SetNonblock(fd, true); err != nil {
		fmt.Println(err)
		return
	}
	polling := transport.NewPolling(transport.DefaultPolling) // one for all sockets of the plug-in
	w, err := polling.Waiter(fd)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer w.Close() // before the descriptor

	read := func(p []byte, tmo time.Duration) (n int, err error) {
		var until time.Time
		if tmo != transport.Infinite {
			until = time.Now().Add(tmo)
		}
		if err := w.SetReadDeadline(until); err != nil {
			return 0, err
		}
		waited := w.Read(func() (int, bool) {
			n, err = unix.Read(fd, p)
			return n, err != unix.EAGAIN
		})
		if waited != nil {
			return 0, waited
		}
		return n, err
	}
	p := make([]byte, 100)
	_, err = read(p, 10*time.Millisecond)
	fmt.Println(err)
	go unix.Write(peer, []byte("hello"))
	n, err := read(p, transport.Infinite)
	fmt.Println(string(p[:n]), err)
	// Output:
	// i/o timeout
	// hello <nil>
}
