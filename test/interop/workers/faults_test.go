//go:build linux

package workers

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/party"
)

// A worker that is killed takes its own connections along; the next ones get a new worker.
func TestWorkerKilled(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		c := newCluster(t, r, serveDemo(t))
		a, b := c.erl[0], c.erl[1]
		held := descriptors(t, c.Pid())
		for _, e := range c.erl {
			// of a process that has ended: it makes sure of the connection
			eval(t, e, `monitor_node(N, true)`)
		}
		watch := func(e *otp.Node) func() string {
			return e.Async(t, about(`monitor_node(N, true), erlang:register(watcher, self()), receive {nodedown, N} -> down; stop -> up end`))
		}
		downA, downB := watch(a), watch(b)
		// B's watcher of a process of A's worker hears of its end without a nodedown.
		lost := b.Async(t, about(`process_flag(trap_exit, true), P = rpc:call('%s', rpc, call, [N, erlang, whereis, [peer]]),
			R = monitor(process, P), link(P),
			gen_server:call(P, x, infinity), erlang:register(linked, self()),
			{receive {'DOWN', R, _, _, W} -> W after 20000 -> late end, receive {'EXIT', P, V} -> V after 20000 -> late end}`, a.Name()))
		for _, e := range []*otp.Node{a, b} {
			require.Eventually(t, func() bool { return eval(t, e, `is_pid(whereis(watcher))`) == "true" }, limit, 10*time.Millisecond)
		}
		require.Eventually(t, func() bool { return eval(t, b, `is_pid(whereis(linked))`) == "true" }, limit, 10*time.Millisecond)
		c.signal(t, c.at[0], syscall.SIGKILL)
		require.Equal(t, "down", downA())
		require.Equal(t, "{killed,killed}", lost())
		eval(t, b, `watcher ! stop`)
		require.Equal(t, "up", downB())
		require.Equal(t, c.at[1], c.worker(t, b))
		require.Equal(t, c.at[2], c.worker(t, c.erl[2]))
		require.Eventually(t, func() bool { return eval(t, a, `net_adm:ping(N)`) == "pong" }, limit, 10*time.Millisecond,
			"what was in the socket of the dying one ends with it")
		require.NotEqual(t, c.at[0], c.worker(t, a))
		require.Eventually(t, func() bool { return descriptors(t, c.Pid()) <= held }, limit, 10*time.Millisecond)
	})
}

// A worker that hangs is passed over: the node connected to it waits, others do not.
func TestWorkerStopped(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		c := newCluster(t, r, serveDemo(t))
		c.signal(t, c.at[1], syscall.SIGSTOP)
		defer c.signal(t, c.at[1], syscall.SIGCONT)
		// the worker has answered just now, and counts as alive for a moment
		time.Sleep(100 * time.Millisecond)
		for range 3 {
			join(t, c.spare)
			require.NotEqual(t, c.at[1], c.worker(t, c.spare))
			eval(t, c.spare, `disconnect_node(N)`)
		}
		is(t, c.erl[0], "pong", `net_adm:ping(N)`)
		c.signal(t, c.at[1], syscall.SIGCONT)
		require.Equal(t, c.at[1], c.worker(t, c.erl[1]), "its connection has lived through it")
	})
}

// Whatever strangers do at the front harms no other connection, and leaves nothing behind.
func TestHostile(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		c := newCluster(t, r, serveDemo(t))
		held := descriptors(t, c.Pid())
		var conns []net.Conn
		for i := range 200 {
			conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", c.Address))
			require.NoError(t, err)
			conns = append(conns, conn)
			switch i % 5 {
			case 0: // silence
			case 1:
				_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
			case 2: // half a name
				_, _ = conn.Write([]byte{0, 30, 'N', 0, 0})
			case 3: // somebody else's name, and then nothing, or nonsense
				name := []byte("\x00\x00N\x00\x00\x00\x0d\x07\xdf\x7f\xbd\x00\x00\x00\x01\x00\x00" + c.erl[i%3].Name())
				name[1], name[16] = byte(len(name)-2), byte(len(c.erl[i%3].Name()))
				_, _ = conn.Write(name)
				if i%2 == 0 {
					_, _ = conn.Write([]byte("\x00\x05strue\x00\x15rgarbagegarbagegarbag"))
				}
			case 4:
				_ = conn.Close()
			}
		}
		for i, e := range c.erl {
			is(t, e, "pong", `net_adm:ping(N)`)
			require.Equal(t, c.at[i], c.worker(t, e), "its connection has lived through it")
		}
		join(t, c.spare)
		eval(t, c.spare, `disconnect_node(N)`)
		for _, conn := range conns {
			_ = conn.Close()
		}
		require.Eventually(t, func() bool { return descriptors(t, c.Pid()) <= held }, limit, 10*time.Millisecond, "%d before", held)
	})
}

// The workers end with the front, however it ends.
func TestFrontKilled(t *testing.T) {
	otp.Each(t, func(t *testing.T, r otp.Release) {
		c := newCluster(t, r, serveDemo(t))
		c.toEnd = true
		c.signal(t, c.Pid(), syscall.SIGKILL)
		for _, pid := range c.at {
			require.Eventually(t, func() bool { return party.Ended(pid) }, limit, 10*time.Millisecond)
		}
		is(t, c.erl[0], "pang", `net_adm:ping(N)`)
	})
}
