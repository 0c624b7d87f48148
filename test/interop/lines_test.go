package interop

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/line"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
	"github.com/stretchr/testify/require"
)

// linePort is where the nodes at both ends of a line listen, each at its own address.
const linePort = 4370

// A message of 4 MB takes four seconds over a line of 8 Mbit/s, each way. Meanwhile calls are
// answered in both directions, and nobody takes the other one for dead, over TCP and over TLS.
func TestSlowLine(t *testing.T) {
	needsWhole(t, "it has carriers of its own")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		for _, carrier := range []string{"TCP", "TLS"} {
			t.Run(carrier, func(t *testing.T) {
				t.Parallel()
				l := line.New(t, line.Options{Rate: 8e6})
				here, there := l.End(0), l.End(1)
				c := carriage{tr: here.Transport(transport.TCP())}
				if carrier == "TLS" {
					var err error
					c, err = overTLS(filepath.Join(t.TempDir(), "tls"), program(t, "cmd/cnode-demo"), "1.3", c.tr, here.Addr(), there.Addr())
					require.NoError(t, err)
				}
				m := &meeting{erl: startAt(t, r, there, c.file), n: startNode(t, nodes.Config{
					Name: "ours@" + here.Addr(), Cookie: otp.DefaultCookie, HandshakeTimeout: otp.HandshakeTime, TickInterval: 2 * time.Second,
					Transport: c.tr, Resolver: nodes.FixedPort(linePort),
					Listen: parseAddr(t, fmt.Sprintf("%s:%d", here.Addr(), linePort)),
				})}
				// about 40 are made; one or two may leave just before the message
				require.Greater(t, converseBeside(t, m, 4<<20), int64(3), "calls answered while the large message went to Erlang")
			})
		}
	})
}

// startAt starts an Erlang node at the end of a line.
func startAt(t *testing.T, r otp.Release, at *line.End, tlsFile string) (erl *otp.Node) {
	t.Helper()
	require.NoError(t, at.Do(func() error {
		erl = r.Start(t, otp.Options{
			Name: "erl@" + at.Addr(), EpmdPort: linePort, TLSOptFile: tlsFile,
			ExtraArgs: []string{
				"-start_epmd", "false", "-erl_epmd_port", strconv.Itoa(linePort),
				"-kernel", "net_ticktime", "8", "inet_dist_use_interface", "{" + strings.ReplaceAll(at.Addr(), ".", ",") + "}",
			},
		})
		return nil
	}))
	return erl
}

// The same over carriers of ours that are slow, or cut what they carry into odd pieces.
func TestSlowCarrier(t *testing.T) {
	needsWhole(t, "it has carriers of its own")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		for name, carrier := range map[string]transport.Transport{
			"limit":           virtual.Limit(transport.TCP(), virtual.LimitOptions{Read: 2e6, Write: 2e6, Burst: 64 << 10}),
			"fault":           virtual.Fault(transport.TCP(), virtual.GentleFaults(1)),
			"fault and limit": virtual.Fault(virtual.Limit(transport.TCP(), virtual.LimitOptions{Read: 2e6, Write: 2e6}), virtual.GentleFaults(2)),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				port := r.Epmd(t)
				cfg := config(port)
				cfg.Transport, cfg.TickInterval = carrier, 2*time.Second
				erl := start(t, r, otp.Options{EpmdPort: port, ExtraArgs: []string{"-kernel", "net_ticktime", "8"}})
				converseBeside(t, &meeting{erl: erl, n: startNode(t, cfg)}, 2<<20)
			})
		}
	})
}

// converseBeside has the Erlang node send a message of so many bytes, and sends it back, with a
// call every tenth of a second beside it in each direction. All are answered, every byte returns,
// and the connection stays. beside is how many of our calls began and ended while the message was
// on its way back. On its way to us there may be none: an Erlang process that answers, such as rex,
// may have to wait until all of a large message of another one has gone.
func converseBeside(t *testing.T, m *meeting, size int) (beside int64) {
	ctx := background(t)
	exposed(m.n)
	c, err := m.n.Connect(ctx, m.erl.Name())
	require.NoError(t, err)
	large := m.mailbox(t, "B", nil)
	theirs := m.erl.Async(t, m.about(fmt.Sprintf(`
		monitor_node(N, true),
		Self = self(),
		Call = fun(I) -> spawn(fun() -> Self ! {answer, I, catch erpc:call(N, gofun, args, [I], 40000)} end) end,
		Calls = spawn_link(fun() ->
			(fun F(I) -> Call(I), receive stop -> Self ! {calls, I} after 100 -> F(I + 1) end end)(1)
		end),
		Large = crypto:strong_rand_bytes(%d),
		B ! {Self, crypto:hash(sha256, Large), Large},
		Back = receive {back, T} -> B ! came, T =:= Large; {nodedown, N} -> nodedown after 40000 -> late end,
		Calls ! stop,
		Made = receive {calls, K} -> K end,
		Answers = [receive {answer, I, A} -> A =:= [I] after 40000 -> late end || I <- lists:seq(1, Made)],
		{Back, lists:usort(Answers), receive {nodedown, N} -> down after 0 -> up end}`, size)))

	var goesBack atomic.Bool
	var answered atomic.Int64
	var calls sync.WaitGroup
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		every := time.NewTicker(100 * time.Millisecond)
		defer every.Stop()
		for i := ei.Int(1); ; i++ {
			select {
			case <-stop:
				return
			case <-every.C:
			}
			calls.Go(func() {
				began := goesBack.Load()
				got, err := m.n.RPC(ctx, m.erl.Name(), "erlang", "abs", -i)
				if err != nil || got != i {
					t.Errorf("call %d: %v, %v", i, got, err)
				}
				if began && goesBack.Load() {
					answered.Add(1)
				}
			})
		}
	}()
	defer func() { close(stop); <-stopped; calls.Wait() }()
	back := make(chan error, 1)
	go func() {
		back <- sendBack(ctx, large, &goesBack)
	}()
	require.Equal(t, "{true,[true],up}", theirs())
	require.NoError(t, await(t, back))
	require.NoError(t, c.Err(), "the connection")
	return answered.Load()
}

// sendBack receives {From, Hash, Large}, sends {back, Large} to From, and waits for word that it
// has come. goes is set meanwhile.
func sendBack(ctx context.Context, b *nodes.Mailbox, goes *atomic.Bool) error {
	message, err := b.Receive(ctx)
	if err != nil {
		return err
	}
	term, err := message.Term()
	if err != nil {
		return err
	}
	tuple := term.(ei.Tuple)
	large := tuple[2].(ei.Binary)
	if hash := sha256.Sum256(large); string(hash[:]) != string(tuple[1].(ei.Binary)) {
		return fmt.Errorf("%d bytes are not those that were sent", len(large))
	}
	goes.Store(true)
	defer goes.Store(false)
	if err := b.Send(ctx, tuple[0].(ei.Pid), ei.Tuple{ei.Atom("back"), large}); err != nil {
		return err
	}
	_, err = b.Receive(ctx)
	return err
}
