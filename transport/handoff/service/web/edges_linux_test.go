package web_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

// A request whose header came with the one before, and whose body comes later, stays.
func TestPipelinedBody(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0")
	first := strconv.Itoa(r.pid)
	c := r.connect()
	c.says("GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
	require.Equal(t, first, c.hears())
	require.NoError(t, expect.Err(c.r.Peek(len("HTTP/1.1 200 OK"))))
	d := r.connect()
	d.says("GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe")
	require.Equal(t, first, d.hears())
	require.NoError(t, expect.Err(d.r.Peek(len("HTTP/1.1 200 OK"))))
	r.hangUp()
	c.says("hello")
	d.says("llo")
	require.Equal(t, first+" hello", c.hears())
	require.Equal(t, first+" hello", d.hears())
}

// A connection that has moved waits for its next request as long as it would have before: the time
// limit of a new connection is shorter.
func TestHeaderTimeout(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0", role+"_HEADER_TIMEOUT=500ms")
	c := r.connect()
	c.asks()
	time.Sleep(time.Second)
	c.asks()
	r.hangUp()
	time.Sleep(time.Second)
	c.asks()
}

// A program that closes its listener before it has taken over leaves the file of the UNIX socket.
func TestUnixFileStays(t *testing.T) {
	t.Parallel()
	path := sockdir.New(t) + "/s"
	control := sockdir.New(t) + "/web/control"
	begin(t, "unix:"+path, role+"_CLOSES=1", role+"_CONTROL="+control)
	require.ErrorContains(t, expect.Err(service.Ask(expect.Context(t), control, "")), "serves on")
	require.FileExists(t, path)
}

// In place, a request that lasts for longer than DrainTimeout is waited for once.
func TestDrainsOnce(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0", role+"_IN_PLACE=yes", role+"_DRAIN=5s")
	c := r.connect()
	c.says("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
	require.NoError(t, expect.Err(c.r.Peek(1)))
	begun := time.Now()
	r.hangUp()
	require.Less(t, time.Since(begun), 9*time.Second)
}

// A SIGHUP at any moment is no end of a program that is replaced in place.
func TestManySignalsInPlace(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0", role+"_IN_PLACE=yes")
	c := r.connect()
	c.asks()
	for i := range 300 {
		require.NoError(t, syscall.Kill(r.pid, syscall.SIGHUP))
		time.Sleep(time.Duration(i%10) * time.Millisecond) // at whatever step that finds it
	}
	c.asks()
}

// A SIGHUP during an upgrade in place is answered by the program that follows.
func TestSignalDuringInPlace(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0", role+"_IN_PLACE=yes")
	c := r.connect()
	c.says("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
	require.NoError(t, expect.Err(c.r.Peek(1)))
	require.NoError(t, syscall.Kill(r.pid, syscall.SIGHUP))
	r.hears("step owner: asked")
	require.NoError(t, syscall.Kill(r.pid, syscall.SIGHUP))
	c.says("hello")
	c.hears()
	r.ready()
	r.ready()
}

// The second SIGTERM ends a process that only drains.
func TestSecondSIGTERM(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0")
	old := r.pid
	c := r.connect()
	c.says("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
	require.NoError(t, expect.Err(c.r.Peek(1)))
	r.hangUp()
	r.hears("step owner: leaves")
	require.NoError(t, syscall.Kill(old, syscall.SIGTERM))
	time.Sleep(time.Second) // those that come at once count as one
	require.NoError(t, syscall.Kill(old, syscall.SIGTERM))
	_ = c.c.SetReadDeadline(time.Now().Add(time.Second))
	require.NotErrorIs(t, expect.Err(io.ReadAll(c.r)), os.ErrDeadlineExceeded, "still drains")
}

// Connections that are made while the new program starts move, too.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0", role+"_SLEEP=1s")
	var cs []*client
	for range 200 {
		c := r.connect()
		c.asks()
		cs = append(cs, c)
	}
	require.NoError(t, syscall.Kill(r.pid, syscall.SIGHUP))
	for range 300 {
		c := r.connect()
		c.asks()
		cs = append(cs, c)
	}
	r.ready()
	n := 0
	for _, c := range cs {
		if c.asks() == strconv.Itoa(r.pid) {
			n++
		}
	}
	require.Equal(t, len(cs), n)
}

// Who connects for each request meets no failure, nor does who keeps a connection with TLS for as
// long as the server does not say that it closes it.
func TestNewConnections(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]struct{ secure, keeps bool }{"new": {}, "new, TLS": {secure: true}, "kept, TLS": {true, true}} {
		t.Run(name, func(t *testing.T) {
			var env []string
			if how.secure {
				env = append(env, role+"_TLS="+certificate(t))
			}
			r := begin(t, "tcp:127.0.0.1:0", env...)
			stop, addr := make(chan struct{}), r.addr
			var all sync.WaitGroup
			var bad atomic.Int64
			connect := func() (net.Conn, error) {
				if how.secure {
					return tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
				}
				return net.Dial("tcp", addr)
			}
			ask := func(c net.Conn, in *bufio.Reader) (closes bool, err error) {
				text := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
				if !how.keeps {
					text = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
				}
				if _, err := io.WriteString(c, text); err != nil {
					return false, err
				}
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					return false, err
				}
				_, err = io.ReadAll(resp.Body)
				return resp.Close, err
			}
			for range 16 {
				all.Go(func() {
					for {
						c, err := connect()
						for in := bufio.NewReader(c); err == nil; {
							var closes bool
							closes, err = ask(c, in)
							select {
							case <-stop:
								closes = true
							default:
							}
							if closes {
								_ = c.Close()
								break
							}
						}
						if err != nil {
							bad.Add(1)
							t.Log(err)
						}
						select {
						case <-stop:
							return
						default:
						}
					}
				})
			}
			for range 10 {
				old := r.pid
				r.hangUp()
				r.hears(fmt.Sprint("left ", old))
			}
			close(stop)
			all.Wait()
			require.Zero(t, bad.Load())
		})
	}
}

// A server that speaks first goes on with the connection, within DrainTimeout: its function that
// ends it need not look at that.
func TestServerSpeaksFirst(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0", role+"_FIRST=yes", role+"_DRAIN=1s")
	first := r.pid
	c := r.connect()
	line := expect.NoError(c.r.ReadString('\n')).In(t)
	require.Equal(t, fmt.Sprintln(first), line)
	r.hangUp()
	c.says("hello")
	text := expect.NoError(io.ReadAll(c.r)).In(t)
	require.Equal(t, "hello", string(text))
	r.hears(fmt.Sprint("left ", first))
}

// Of two listeners of one text, each goes on with its own connections.
func TestTwoOfOneText(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0", role+"_TWO=yes")
	one := r.connect()
	first := one.asks()
	r.addr = r.two
	two := r.connect()
	require.Equal(t, "two", two.asks())
	r.hangUp()
	require.Equal(t, "two", two.asks())
	require.NotEqual(t, first, one.asks())
}

// Processes that drain pass their connections on to the last.
func TestChain(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0")
	idle := r.connect()
	idle.asks()
	var slow []*client
	var pids []string
	for range 4 {
		pids = append(pids, strconv.Itoa(r.pid))
		c := r.connect()
		c.says("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
		require.NoError(t, expect.Err(c.r.Peek(1)))
		slow = append(slow, c)
		r.hangUp()
	}
	next := strconv.Itoa(r.pid)
	for i, c := range slow {
		c.says("hello")
		require.Equal(t, pids[i]+" hello", c.hears())
		c.follows(next)
		c.says("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloHEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
		require.Equal(t, next, c.hears())
		resp := expect.NoError(http.ReadResponse(c.r, &http.Request{Method: "HEAD"})).In(t)
		require.Equal(t, 200, resp.StatusCode)
	}
	require.Equal(t, next, idle.asks())
	for range pids {
		r.hears("left")
	}
	r.hangUp()
	for _, c := range slow {
		require.Equal(t, strconv.Itoa(r.pid), c.asks())
	}
}

// Connections that have just moved hold no shutdown up.
func TestSIGTERMAfterUpgrade(t *testing.T) {
	t.Parallel()
	r := begin(t, "tcp:127.0.0.1:0")
	idle := r.connect()
	idle.asks()
	r.hangUp()
	begun := time.Now()
	require.NoError(t, syscall.Kill(r.pid, syscall.SIGTERM))
	r.hears("left " + strconv.Itoa(r.pid))
	require.Less(t, time.Since(begun), 3*time.Second)
}

// At each step before it has taken over, the end of the new process is nothing that a client meets.
// From then on there is no way back, and who asks hears it.
func TestNextDies(t *testing.T) {
	t.Parallel()
	for _, at := range []handoffpoint.Point{
		handoffpoint.HeirConnected, handoffpoint.HeirGreeted, handoffpoint.HeirPrepared, handoffpoint.HeirDescriptorsAll,
		handoffpoint.HeirStateAll, handoffpoint.HeirOffered, handoffpoint.HeirStaged, handoffpoint.HeirWaits, handoffpoint.HeirOwns,
	} {
		control := sockdir.New(t) + "/web/control"
		r := begin(t, "tcp:127.0.0.1:0", role+"_CONTROL="+control, role+"_DIES="+string(at))
		first := strconv.Itoa(r.pid)
		fresh, idle, slow := r.connect(), r.connect(), r.connect()
		require.Equal(t, first, idle.asks())
		slow.says("POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
		require.NoError(t, expect.Err(slow.r.Peek(1)))
		asked, err := service.Ask(expect.Context(t), control, "")
		if at == handoffpoint.HeirOwns {
			require.ErrorIs(t, err, service.ErrSilent, at)
			require.Equal(t, r.pid, asked.Old)
			slow.says("hello")
			require.Equal(t, first+" hello", slow.hears(), "what is in progress is answered all the same")
			continue
		}
		require.ErrorContains(t, err, "serves on", at)
		slow.says("hello")
		require.Equal(t, first+" hello", slow.hears(), at)
		for _, c := range []*client{fresh, idle, slow, r.connect()} {
			require.Equal(t, first, c.asks(), at)
		}
	}
}
