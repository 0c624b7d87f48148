package cnodews_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/websocket"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/nodes"
)

// A relay passes TCP connections on, in pieces of any size, some later than others, and cuts each
// after a number of bytes: by an end, by a reset, or by passing nothing more.
type relay struct {
	net.Listener
	to   string
	calm atomic.Bool // from now on nothing is cut
}

func (r *relay) accept(t *testing.T) {
	for {
		near, err := r.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", r.to)
		assert.NoError(t, err)
		l := &line{relay: r, most: 1 << (6 + rand.N(16)), how: rand.N(3)} // from 64, in the upgrade, to 2 MiB
		go l.pass(near.(*net.TCPConn), far.(*net.TCPConn))
		go l.pass(far.(*net.TCPConn), near.(*net.TCPConn))
		context.AfterFunc(t.Context(), func() { near.Close(); far.Close() })
	}
}

type line struct {
	*relay
	passed    atomic.Int64
	most, how int
	silent    atomic.Bool
}

func (l *line) pass(from, to *net.TCPConn) {
	defer func() { from.Close(); to.Close() }()
	for b := make([]byte, 16<<10); ; {
		n, err := from.Read(b[:1+rand.N(len(b))])
		if err != nil {
			return
		}
		time.Sleep(max(0, rand.N(12*time.Millisecond)-10*time.Millisecond)) // now and then
		switch cut := l.passed.Add(int64(n)) > int64(l.most) && (!l.calm.Load() || l.silent.Load()); {
		case !cut:
			_, _ = to.Write(b[:n/2])
			_, _ = to.Write(b[n/2 : n])
		case l.how < 2:
			_, _ = to.SetLinger(l.how-1), from.SetLinger(l.how-1) // 0 is a reset
			return
		default: // the nodes' ticks find out
			l.silent.Store(true)
		}
	}
}

// Nodes live through lines that are cut, late, and in pieces: each call has its result or an error
// that says that the connection is gone, and they connect again.
func TestCutLines(t *testing.T) {
	long := map[bool]time.Duration{true: time.Second, false: 10 * time.Second}[testing.Short()]
	for name, o := range modes {
		t.Run(name, func(t *testing.T) {
			ws, s := cnodews.New(nil), plain(t)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			r := &relay{Listener: l, to: s.Listener.Addr().String()}
			t.Cleanup(func() { l.Close() })
			go r.accept(t)
			server := shop(t, ws)
			at := cnodews.URL(strings.Replace(string(s.put(ws)), r.to, r.Addr().String(), 1))
			client := started(t, nodes.Config{
				Name: "till@branch", Cookie: "secret", Transport: cnodews.New(o), Resolver: nodes.Static{"shop@web": {Addr: at}},
				TickInterval: 100 * time.Millisecond, HandshakeTimeout: time.Second,
			})
			ctx := expect.Context(t)
			call := func(i byte) error {
				p := ei.Binary(bytes.Repeat([]byte{i}, 1<<rand.N(17)))
				v, err := client.RPC(ctx, "shop@web", "shop", "echo", p)
				assert.True(t, err != nil || bytes.Equal(p, v.(ei.Binary)), "another call's result")
				return err
			}
			var callers sync.WaitGroup
			var results, losses atomic.Int64
			for began, i := time.Now(), byte(0); i < 4; i++ {
				callers.Go(func() {
					for (time.Since(began) < long || losses.Load() == 0) && !t.Failed() {
						if err := call(i); err == nil {
							results.Add(1)
						} else if losses.Add(1); assert.ErrorIs(t, err, nodes.ErrNoConnection) {
							assert.NoError(t, ctx.Err(), "a call hangs")
						}
					}
				})
			}
			callers.Wait()
			t.Logf("%d results and %d losses", results.Load(), losses.Load())
			r.calm.Store(true)
			require.Eventually(t, func() bool { return call(9) == nil }, expect.Limit, time.Millisecond)
			require.NoError(t, client.Shutdown(ctx))
			require.Eventually(t, func() bool { return len(server.Peers()) == 0 }, expect.Limit, time.Millisecond)
		})
	}
}
