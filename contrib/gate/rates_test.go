package gate_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/internal/test/otp"
)

// rates is what the node outside measures: round trips, and messages in one direction.
const rates = `
-module(rates).
-export([trip/3, rate/3, sink/1]).
trip(To, Size, Ms) ->
    B = binary:copy(<<1>>, Size), go(To, B, 5), T = now_us(), N = turns(To, B, T + Ms * 1000, 0), (now_us() - T) / N.
turns(To, B, End, N) -> case now_us() > End of true -> N; false -> go(To, B, 2), turns(To, B, End, N + 2) end.
go(_, _, 0) -> ok;
go(To, B, N) -> To ! {self(), B}, receive {echo, B} -> go(To, B, N - 1) end.
rate(To, Size, Ms) ->
    B = binary:copy(<<1>>, Size), T = now_us(), N = many(To, B, T + Ms * 1000, 0), To ! {last, self()},
    receive {sunk, N} -> N * 1000000 / (now_us() - T) end.
many(To, B, End, N) ->
    case now_us() > End of true -> N; false -> [To ! B || _ <- lists:seq(1, 20)], many(To, B, End, N + 20) end.
sink(N) -> receive {last, P} -> P ! {sunk, N}, sink(0); _ -> sink(N + 1) end.
now_us() -> erlang:monotonic_time(microsecond).
`

// TestRates measures a gate beside a direct connection; CNODE_TEST_GATE_MS says how long each cell
// takes.
func TestRates(t *testing.T) {
	ms, err := strconv.Atoi(os.Getenv("CNODE_TEST_GATE_MS"))
	if err != nil {
		t.Skip("a measurement: CNODE_TEST_GATE_MS=500")
	}
	releases := otp.Releases(t)
	r := releases[len(releases)/2]
	w := newWorld(t, r, r)
	w.cfg.Rules = []gate.Rule{{Op: gate.MaySend, Target: "echo", Allow: true}, {Op: gate.MaySend, Target: "sink", Allow: true}}
	direct := r.Start(t, otp.Options{Cookie: "outer", EpmdPort: w.outer.EpmdPort()})
	direct.Load(t, shop)
	direct.Do(t, "shop:start()")
	w.outer.Load(t, rates)
	for _, n := range []*otp.Node{direct, w.inner} {
		n.Load(t, rates)
		n.Do(t, "register(sink, spawn(rates, sink, [0]))")
	}
	g := w.start(t, &gate.Options{})
	defer func() { require.NoError(t, g.Close()) }()
	for _, what := range []struct{ f, to string }{{"trip", "echo"}, {"rate", "sink"}} {
		for _, size := range []int{16, 1024, 64 << 10, 1 << 20} {
			compare(t, what.f, what.to, size, ms, w.outer, [2]*otp.Node{direct, w.inner})
		}
	}
}

// TestRatesTLS measures a gate that ends TLS for a node beside two nodes that speak TLS.
func TestRatesTLS(t *testing.T) {
	ms, err := strconv.Atoi(os.Getenv("CNODE_TEST_GATE_MS"))
	if err != nil {
		t.Skip("a measurement: CNODE_TEST_GATE_MS=500")
	}
	releases := otp.Releases(t)
	r := releases[len(releases)/2]
	file := tlsFiles(t)
	w := newWorld(t, r, r)
	w.outer = r.Start(t, otp.Options{Cookie: "outer", EpmdPort: w.outer.EpmdPort(), TLSOptFile: file,
		Hidden: true}) // global would part nodes that do not all see each other
	direct := r.Start(t, otp.Options{Cookie: "outer", EpmdPort: w.outer.EpmdPort(), TLSOptFile: file,
		Hidden: true}) // global would part nodes that do not all see each other
	direct.Load(t, shop)
	direct.Do(t, "shop:start()")
	w.cfg.Outside.Names, w.cfg.Outside.Nodes = []string{w.outer.Name()}, nil
	w.cfg.Outside.OptFile, w.cfg.Unfiltered = file, true
	w.outer.Load(t, rates)
	g := w.start(t, &gate.Options{})
	defer func() { require.NoError(t, g.Close()) }()
	for _, size := range []int{16, 1 << 20} {
		compare(t, "trip", "echo", size, ms, w.outer, [2]*otp.Node{direct, w.inner})
	}
}

// compare logs medians of five rounds.
func compare(t *testing.T, f, to string, size, ms int, from *otp.Node, there [2]*otp.Node) {
	var got [2][]float64
	for range 5 {
		for i, n := range there {
			text := from.Do(t, fmt.Sprintf("float_to_list(float(rates:%s({%s, '%s'}, %d, %d)), [{decimals, 1}])", f, to, n.Name(), size, ms))
			v, err := strconv.ParseFloat(text[1:len(text)-1], 64)
			require.NoError(t, err)
			got[i] = append(got[i], v)
		}
	}
	d, through := median(got[0]), median(got[1])
	t.Logf("%s %d: direct %.1f, through the gate %.1f: %.2f", f, size, d, through, through/d)
}

func median(v []float64) float64 {
	for i := range v {
		for j := i + 1; j < len(v); j++ {
			if v[j] < v[i] {
				v[i], v[j] = v[j], v[i]
			}
		}
	}
	return v[len(v)/2]
}
