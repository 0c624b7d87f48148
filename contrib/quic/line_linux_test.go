package cnodequic_test

import (
	"context"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/stretchr/testify/require"

	cnodequic "github.com/cnode-go/cnode/contrib/quic"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/line"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// at makes a node at an end of a line, over QUIC or TCP.
func at(t testing.TB, a *authority, l *line.Line, end int, over string, table nodes.Static) *nodes.Node {
	t.Helper()
	name := string("ab"[end]) + "@" + l.End(end).Addr()
	addr, err := transport.ParseAddr(l.End(end).Addr() + ":0")
	require.NoError(t, err)
	tr := l.End(end).Transport(transport.TCP())
	if over == "quic" {
		var udp *net.UDPConn
		require.NoError(t, l.End(end).Do(func() (err error) {
			udp, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(l.End(end).Addr())})
			return err
		}))
		socket := &quic.Transport{Conn: cnodequic.Lossy(udp)}
		t.Cleanup(func() { socket.Close(); udp.Close() })
		tr = a.carried(t, name, func(c *cnodequic.Config) { c.Socket = socket })
	}
	return start(t, name, tr, table, func(c *nodes.Config) { c.Listen = addr })
}

// latencies are how long calls take, one after the other, beside large messages, during so long.
func latencies(t testing.TB, over string, o line.Options, during time.Duration) []time.Duration {
	t.Helper()
	l, a, table := line.New(t, o), newAuthority(t), nodes.Static{}
	one := at(t, a, l, 0, over, table)
	two := at(t, a, l, 1, over, table)
	sink, err := two.NewMailbox(nil)
	require.NoError(t, err)
	source, err := one.NewMailbox(nil)
	require.NoError(t, err)
	calls(t, one, two.Name(), ei.Atom("first"))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		large := ei.Binary(make([]byte, 16<<20))
		for {
			if err := source.Send(ctx, sink.Pid(), large); err != nil {
				return
			}
			if _, err := sink.Receive(ctx); err != nil {
				return
			}
		}
	}()
	var took []time.Duration
	for begun := time.Now(); time.Since(begun) < during; {
		call := time.Now()
		_, err := one.RPC(expect.Context(t), two.Name(), "go", "echo", 1)
		require.NoError(t, err)
		took = append(took, time.Since(call))
	}
	stop()
	<-ended
	slices.Sort(took)
	return took
}

// Small calls beside a message of 16 MB, on a line that loses packets: over QUIC the longest takes
// no longer than over TCP. Which packets are lost is luck, so it may take another try.
func TestLossyLine(t *testing.T) {
	need.Long(t, 40*time.Second)
	o := line.Options{Rate: 100e6, Delay: 40 * time.Millisecond, Loss: 0.01}
	longest := map[string]time.Duration{}
	for range 3 {
		for _, over := range []string{"tcp", "quic"} {
			took := latencies(t, over, o, 15*time.Second)
			longest[over] = took[len(took)-1]
			t.Logf("%s: %d calls, median %v, 99%% %v, longest %v", over, len(took), took[len(took)/2], took[len(took)*99/100], longest[over])
		}
		if longest["quic"] <= longest["tcp"] {
			return
		}
	}
	t.Fatal("three times in a row the longest call took longer over QUIC")
}

// A firewall or a route that forbids packets for a while loses packets, and no connection.
func TestForbidden(t *testing.T) {
	for _, kind := range []string{"prohibit", "blackhole", "unreachable"} {
		t.Run(kind, func(t *testing.T) {
			l, a, table := line.New(t, line.Options{Rate: 100e6}), newAuthority(t), nodes.Static{}
			one := at(t, a, l, 0, "quic", table)
			two := at(t, a, l, 1, "quic", table)
			calls(t, one, two.Name(), ei.Atom("before"))
			conn := one.Conn(two.Name())
			route := func(verb string) {
				require.NoError(t, l.End(0).Do(func() error {
					return exec.Command("ip", "route", verb, kind, l.End(1).Addr()+"/32").Run()
				}))
			}
			route("add")
			done := make(chan struct{})
			go func() {
				defer close(done)
				calls(t, one, two.Name(), ei.Atom("meanwhile"))
			}()
			select {
			case <-conn.Done():
				t.Fatal(conn.Err())
			case <-time.After(tickTime / 4):
			}
			route("del")
			expect.Returns(t, done)
			require.Same(t, conn, one.Conn(two.Name()))
		})
	}
}

// A path that takes only shorter packets from now on, as does a tunnel in place of a network, goes
// on, whether or not the ends are told.
func TestShrinkingPath(t *testing.T) {
	const least = 1280 // IPv6's
	for name, shrink := range map[string]func(l *line.Line) error{
		"nobody is told": func(l *line.Line) error { l.Narrow(least); return nil },
		"the system knows": func(l *line.Line) error {
			return l.End(0).Do(func() error { return exec.Command("ip", "link", "set", "line0", "mtu", strconv.Itoa(least)).Run() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, a, table := line.New(t, line.Options{Rate: 100e6}), newAuthority(t), nodes.Static{}
			one := at(t, a, l, 0, "quic", table)
			two := at(t, a, l, 1, "quic", table)
			large := ei.Binary(make([]byte, 1<<20))
			calls(t, one, two.Name(), large)
			conn := one.Conn(two.Name())
			require.NoError(t, shrink(l))
			calls(t, one, two.Name(), large)
			require.Same(t, conn, one.Conn(two.Name()))
		})
	}
}
