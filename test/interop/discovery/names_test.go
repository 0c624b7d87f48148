package discovery

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/dns"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/discovery"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// interval is between look-ups.
const interval = 20 * time.Millisecond

// The names that DNS makes are those that libcluster makes by inet_parse:ntoa/1, and Erlang nodes
// of these names are connected to; one whose address is taken out is disconnected from.
func TestKeepDNS(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		s := dns.New(t)
		mapped := r.Epmd(t)
		a := r.Start(t, otp.Options{EpmdPort: mapped, Name: "myapp@127.0.0.1"})
		addrs := []string{"127.0.0.1", "fd00::7", "2001:db8::1:0:0:1", "fe80::",
			"1:2:3:4:5:6:7:8", "2001:db8:0:1:1:1:1:1", "10.255.0.1"}
		all := dns.Records{"my-app.example.com.": nil}
		for _, text := range addrs {
			all["my-app.example.com."] = append(all["my-app.example.com."], dns.Addr(text))
		}
		s.Set(all)
		source := discovery.DNS{Query: "my-app.example.com", Basename: "myapp", Interval: interval, Resolver: s.Resolver()}
		for names, err := range source.Nodes(expect.Context(t), nil) {
			require.NoError(t, err)
			var want []string
			for _, text := range addrs {
				made := a.Eval(t, fmt.Sprintf(
					`{ok, A} = inet:parse_address("%s"), lists:flatten(io_lib:format("myapp@~s", [inet_parse:ntoa(A)]))`, text))
				want = append(want, strings.Trim(made, `"`))
			}
			require.ElementsMatch(t, want, names)
			break
		}

		s.Set(dns.Records{"my-app.example.com.": {dns.Addr("127.0.0.1"), dns.Addr("127.0.0.9")}})
		n := gonode.Start(t, gonode.Config(t, "go@127.0.0.1", mapped))
		e := &events{}
		o := e.options()
		o.Disconnect = true
		k := keep(t, n, source, o)
		require.Equal(t, "connected", e.next(t, a.Name()).what)
		require.ErrorIs(t, e.next(t, "myapp@127.0.0.9").Err, epmd.ErrNoPortMapper)
		s.Fail()
		require.Eventually(t, func() bool { return k.SourceErr() != nil }, expect.Limit, time.Millisecond)
		require.NotNil(t, n.Conn(a.Name()), "who cannot be asked changes nothing")
	})
}

// Nodes without a port mapper are found at the ports of their SRV records, as the pods of a
// StatefulSet are by their host names.
func TestKeepSRV(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		s := dns.New(t)
		at := port.Free(t)
		erl := r.Start(t, otp.Options{
			EpmdPort: port.Free(t), Name: "node@node-0.example.com",
			ExtraArgs: []string{"-start_epmd", "false", "-erl_epmd_port", fmt.Sprint(at)},
		})
		s.Set(dns.Records{
			"_cnode._tcp.example.com.": {dns.SRV("node-0.example.com.", uint16(at)), dns.SRV("gone.example.com.", 4)},
			"node-0.example.com.":      {dns.Addr("127.0.0.1")},
		})
		source := discovery.SRV{Query: "_cnode._tcp.example.com", Basename: "node", Interval: interval, Resolver: s.Resolver()}
		cfg := nodes.Config{Name: "go@127.0.0.1", Cookie: otp.DefaultCookie, HandshakeTimeout: otp.HandshakeTime, Resolver: source}
		n := gonode.Start(t, cfg)
		e := &events{}
		keep(t, n, source, e.options())
		require.ErrorIs(t, e.next(t, "node@gone.example.com").Err, nodes.ErrUnknownHost)
		require.Equal(t, "connected", e.next(t, erl.Name()).what)
		erl.Becomes(t, "nodes(hidden)", "['go@127.0.0.1']")
	})
}
