package interop

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
	"github.com/stretchr/testify/require"
)

// Whatever a stream does to bytes without losing any, we and Erlang understand each other: many
// times over, each time with other faults.
func TestFaultyStreams(t *testing.T) {
	needsTCP(t, "it has a carrier of its own")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		erl := start(t, r, otp.Options{EpmdPort: port})
		load(t, erl, "counter")
		seeds := uint64(12)
		// for long runs
		if n, err := strconv.ParseUint(os.Getenv("CNODE_FAULTS"), 10, 32); err == nil {
			seeds = n
		} else if testing.Short() {
			seeds = 3
		}
		ran, late := 0, map[virtual.FaultSide]bool{}
		for seed := range seeds {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				var faults atomic.Int64
				o := virtual.GentleFaults(seed)
				// Erlang connects, or we do
				side := []virtual.FaultSide{virtual.FaultAccepted, virtual.FaultConnected}[seed%2]
				o.Done = func(e virtual.FaultEvent) {
					faults.Add(1)
					if e.Side != side {
						t.Errorf("%v: this is the other side's handshake", e)
					}
				}
				// The handshake is always cut at random places; in two of eight, one for each side,
				// it goes byte by byte, each byte late.
				ran++
				if seed%8 < 2 {
					late[side] = true
					for i := range int64(150) {
						for _, write := range []bool{false, true} {
							o.At = append(o.At, virtual.FaultAt{Kind: virtual.FaultSplit, Offset: i, Write: write},
								virtual.FaultAt{Kind: virtual.FaultDelay, Offset: i, Write: write, For: time.Millisecond})
						}
					}
				}
				cfg := config(port)
				cfg.Transport = virtual.Fault(transport.TCP(), o)
				m := &meeting{erl: erl, n: startNode(t, cfg)}
				if side == virtual.FaultAccepted {
					m.is(t, [][2]string{{`net_adm:ping(N)`, `pong`}})
				}
				mainConversations(t, m)
				require.Greater(t, faults.Load(), int64(50))
			})
		}
		if ran > 2 { // else -run has chosen
			require.Len(t, late, 2, "sides whose handshakes went byte by byte")
		}
	})
}

// mainConversations are the main ones of the other tests.
func mainConversations(t *testing.T, m *meeting) {
	ctx := background(t)
	exposed(m.n)

	// Calls, both ways.
	got, err := m.n.RPC(ctx, m.erl.Name(), "lists", "seq", 1, 5)
	require.NoError(t, err)
	require.Equal(t, "[1,2,3,4,5]", got.String())
	big := strings.Repeat("x", 300_000)
	got, err = m.n.RPC(ctx, m.erl.Name(), "lists", "reverse", []any{[]byte(big), ei.Atom("a")})
	require.NoError(t, err)
	require.Equal(t, ei.List{ei.Atom("a"), ei.Binary(big)}, got)
	m.is(t, [][2]string{
		{`erpc:call(N, gofun, args, [1, <<"two">>, "three", [4], 5.0])`, `[1,<<"two">>,"three",[4],5.0]`},
		{`erpc:call(N, gofun, throw, [{a, b}])`, `throw:{a,b}`},
		{`rpc:call(N, gofun, exit, [{a, b}])`, `{badrpc,{'EXIT',{a,b}}}`},
		{`B = binary:copy(<<"x">>, 300000), [B] =:= erpc:call(N, gofun, args, [B])`, `true`},
	})
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			for j := range 10 {
				want := ei.Int(i*1000 + j)
				if got, err := m.n.RPC(ctx, m.erl.Name(), "erlang", "abs", -want); err != nil || got != want {
					t.Errorf("%v and %v came for %v", got, err, want)
				}
			}
		})
	}
	wg.Wait()
	counter := m.pid(t, "counter:start()")
	got, err = m.n.Call(ctx, counter, term(t, "{add,5}"))
	require.NoError(t, err)
	require.Equal(t, "{ok,5}", got.String())

	// Messages in order, both ways.
	b := m.mailbox(t, "B", nil)
	require.NoError(t, m.n.Register(ctx, "box", b))
	m.eval(t, `[B ! {I, binary:copy(<<I>>, I * 10)} || I <- lists:seq(1, 200)], {box, N} ! last`)
	for i := 1; i <= 200; i++ {
		message, err := b.Receive(ctx)
		require.NoError(t, err)
		got, err := message.Term()
		require.NoError(t, err)
		require.Equal(t, ei.Tuple{ei.Int(i), ei.Binary(strings.Repeat(string([]byte{byte(i)}), i*10))}, got)
	}
	require.Equal(t, "last", receive(t, b))
	collector := m.pid(t, `spawn(fun() -> (fun F(I) -> receive {I, _} -> F(I + 1); {result, To} -> To ! I end end)(0) end)`)
	for i := range 200 {
		require.NoError(t, b.Send(ctx, collector, ei.Tuple{ei.Int(i), ei.Binary(big[:i*10])}))
	}
	require.NoError(t, b.Send(ctx, collector, ei.Tuple{ei.Atom("result"), b.Pid()}))
	require.Equal(t, "200", receive(t, b))

	// Monitors and links, both ways.
	pid := m.pid(t, patient)
	ref, err := b.Monitor(ctx, pid)
	require.NoError(t, err)
	require.NoError(t, b.Send(ctx, pid, term(t, "{stop,{because,[1]}}")))
	require.Equal(t, "{because,[1]}", down(t, b, ref))
	linked := m.mailbox(t, "L", &nodes.MailboxOptions{TrapExit: true})
	pid = m.pid(t, patient)
	require.NoError(t, linked.Link(ctx, pid))
	require.NoError(t, linked.Send(ctx, pid, term(t, "{stop,why_not}")))
	require.Equal(t, "why_not", exit(t, linked, pid))
	m.is(t, [][2]string{{`monitor(process, L), net_adm:ping(N)`, `pong`}})
	linked.Exit(term(t, "over"))
	m.is(t, [][2]string{{`receive {'DOWN', _, process, L, Why} -> Why end`, `over`}})
	require.NoError(t, b.Close())
}
