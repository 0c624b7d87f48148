package bind10

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/fdtest"
	"github.com/cnode-go/cnode/internal/test/party"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/internal/sock"
)

// A handed is a connection of a client that is to be handed to a worker.
type handed struct{ client, server *net.TCPConn }

// A worker is a process that takes sessions.
type worker struct {
	*party.Party
	f *Forwarder
}

func startWorker(t *testing.T) worker {
	t.Helper()
	near, far, err := sock.Pair(syscall.SOCK_STREAM)
	require.NoError(t, err)
	p := party.Start(t, []string{takesSessions + "=1"}, far)
	require.NoError(t, far.Close())
	conn := expect.NoError(handoff.FileConn(near)).In(t)
	f := expect.Open(NewForwarderConn(conn)).In(t)
	var ready bool
	p.Hear(t, &ready)
	p.Say(t, true)
	return worker{p, f}
}

// A worker that is stopped holds no more sessions than the bound, and when it has been killed each
// session has been taken by it, or can be given to another one, never both; so it is with a worker
// that is killed while it takes them.
func TestUntakenOfKilledWorker(t *testing.T) {
	for name, stops := range map[string]bool{"stopped": true, "at work": false} {
		for round := range 4 {
			t.Run(fmt.Sprint(name, " ", round), func(t *testing.T) {
				const all, bound = 120, 16
				l := expect.Open(net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})).In(t)
				first, second := startWorker(t), startWorker(t)
				var list []handed
				push := func(w worker, h handed) {
					require.NoError(t, w.f.PushConn(h.server, []byte("x")))
				}
				if !stops {
					time.AfterFunc(time.Duration(rand.IntN(4000))*time.Microsecond, func() { _ = syscall.Kill(first.PID(), syscall.SIGKILL) })
				}
				var over error
				untaken := 0
				for len(list) < all && over == nil {
					client := expect.NoError(net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))).In(t)
					server := expect.NoError(l.AcceptTCP()).In(t)
					h := handed{client, server}
					defer client.Close()
					defer server.Close()
					if untaken, over = first.f.Untaken(transport.NoWait(), bound-1); errors.Is(over, os.ErrDeadlineExceeded) && !stops {
						untaken, over = first.f.Untaken(fdtest.Soon(t), bound-1)
					}
					if over == nil {
						if err := first.f.PushConn(h.server, []byte("x")); err == nil {
							list = append(list, h)
						}
					}
					if stops && len(list) == 10 {
						require.NoError(t, syscall.Kill(first.PID(), syscall.SIGSTOP))
						first.Halted(t)
					}
				}
				if stops {
					require.ErrorIs(t, over, os.ErrDeadlineExceeded)
					require.Equal(t, bound, untaken)
				}
				_ = syscall.Kill(first.PID(), syscall.SIGKILL)
				first.Killed(t)
				for over == nil || errors.Is(over, os.ErrDeadlineExceeded) {
					untaken, over = first.f.Untaken(fdtest.Soon(t), -1)
				}
				require.True(t, over == io.EOF || errors.Is(over, syscall.ECONNRESET), "%v", over)

				again := list[len(list)-untaken:]
				for _, h := range again {
					push(second, h)
				}
				require.Zero(t, expect.NoError(second.f.Untaken(fdtest.Soon(t), 0)).In(t))
				for i, h := range list {
					require.NoError(t, h.server.Close())
					require.NoError(t, h.client.SetReadDeadline(time.Now().Add(10*time.Second)))
					word := make([]byte, 2)
					k, err := io.ReadFull(h.client, word)
					who := int(word[0]) | int(word[1])<<8
					if i >= len(list)-untaken {
						require.NoError(t, err, "session %d of %d", i, len(list))
						require.Equal(t, second.PID()&0xffff, who)
					} else if k == len(word) { // else the worker was killed as it had taken it
						require.Equal(t, first.PID()&0xffff, who)
					}
				}
				t.Logf("%d of %d were untaken", untaken, len(list))
				require.NoError(t, second.f.Close())
			})
		}
	}
}
