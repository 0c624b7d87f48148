package front

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// Sessions that are given to a worker, which closes each at once.
func BenchmarkForward(b *testing.B) {
	h := newHouse(b, nil, nil)
	startWorker(b, h.path, "close", "")
	// a connection of which each session is a duplicate
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	go func() {
		if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
			defer c.Close()
			<-b.Context().Done()
		}
	}()
	c, err := l.Accept()
	require.NoError(b, err)
	defer c.Close()
	var header bind10.Header
	fd, err := duplicate(c.(*net.TCPConn))
	require.NoError(b, err)
	defer closeFD(fd)
	header, err = bind10.Describe(fd, nil)
	require.NoError(b, err)
	base := h.k.Stats().Done
	b.ResetTimer()
	for i := range b.N {
		d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		require.NoError(b, err)
		h.k.gate.RLock()
		h.k.mu.Lock()
		h.k.admit(&session{fd: d, header: header})
		h.k.mu.Unlock()
		h.k.gate.RUnlock()
		for i%64 == 0 && h.k.Stats().Sessions > 256 {
			runtime.Gosched()
		}
	}
	for h.k.Stats().Done < base+uint64(b.N) {
		runtime.Gosched()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "forwards/s")
}

// Requests of many clients: to the worker itself, and through the front, without points and with.
func BenchmarkRequests(b *testing.B) {
	for _, mode := range []string{"direct", "silent", "peek"} {
		b.Run(mode, func(b *testing.B) {
			h := newHouse(b, nil, nil)
			addr := h.addr
			if mode == "direct" {
				addr = reserve(b)
				startWorker(b, h.path, mode, "", listenVariable+"="+addr)
			} else {
				startWorker(b, h.path, mode, "")
			}
			const many = 50
			clients := make([]*client, many)
			for i := range clients {
				clients[i] = dial(b, addr)
				clients[i].must(b, "first")
			}
			done := make(chan error, many)
			b.ResetTimer()
			for i, c := range clients {
				n := b.N / many
				if i < b.N%many {
					n++
				}
				go func() {
					var err error
					for j := 0; j < n && err == nil; j++ {
						_, err = c.ask("a line")
					}
					done <- err
				}()
			}
			for range clients {
				require.NoError(b, <-done)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

const listenVariable = "CNODE_TEST_KEEPER_LISTEN"

// reserve finds an address at which nobody listens.
func reserve(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	return l.Addr().String()
}

// listenItself lets a worker accept its own clients.
func (w *testWorker) listenItself() error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", os.Getenv(listenVariable))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go w.session(c, 0, nil, nil, nil)
	}
}
