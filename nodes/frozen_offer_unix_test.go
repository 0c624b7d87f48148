//go:build unix

package nodes

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// channelPair is both ends of a channel in this process. The first is closed with the test.
func channelPair(t testing.TB) (one, other *handoff.Channel) {
	t.Helper()
	one, file, err := handoff.ChannelPair()
	require.NoError(t, err)
	t.Cleanup(func() { _ = one.Close() })
	other = of(handoff.FileChannel(file)).must(t)
	return one, other
}

// A process that takes a node over says that it knows the plug-ins of all addresses.
func TestConfigNamesAllPlugins(t *testing.T) {
	require.Equal(t, []string{"tcp", "unix"}, Config{Also: []Endpoint{{}}}.plugins())
	named := func(name string) transport.Transport { return renamed{transport.TCP(), name} }
	cfg := Config{Transport: named("memory"), Also: []Endpoint{{Transport: named("also")}}, Transports: []transport.Transport{named("other")}}
	require.ElementsMatch(t, []string{"tcp", "unix", "memory", "also", "other"}, cfg.plugins())
}

// An offer names the plug-ins that the node uses when the offer is made, not those that it could
// use.
func TestOfferPlugins(t *testing.T) {
	w := newWorld(t, "tcp")
	memory := transport.NewMemory()
	n := w.started("also", func(c *Config) {
		c.Transports = []transport.Transport{renamed{transport.TCP(), "unused"}}
		c.Also = []Endpoint{{Addr: transport.MemoryAddr("also"), Transport: memory}}
	})
	require.ElementsMatch(t, []string{"tcp", memory.Name()}, n.Offer().Plugins())
	require.Equal(t, 2+spareDescriptors, n.Offer().Count(), "two listeners")
	require.Equal(t, n.Name(), n.Offer().Terms.What)
	for _, l := range n.Listeners() {
		require.NoError(t, l.Close())
	}
	require.Empty(t, n.Offer().Plugins())
	peer := w.started("peer")
	connect(t, n, peer.Name())
	require.Equal(t, []string{"tcp"}, n.Offer().Plugins())
}

// A refusing resolver takes a name once.
type refusing struct {
	Static
	times int
}

var errRefused = errors.New("the name is another's now")

func (r *refusing) Publish(context.Context, Registration) (Publication, error) {
	if r.times++; r.times > 1 {
		return nil, errRefused
	}
	return r, nil
}

func (r *refusing) Creation() uint32 { return 0 }
func (r *refusing) Close() error     { return nil }

// A node that cannot be registered again in the new process goes on there, and the old process is
// told why.
func TestOfferHearsOfStart(t *testing.T) {
	n := newWorld(t, movers[0]).node("front", func(c *Config) { c.Resolver = &refusing{Static: Static{}} })
	require.NoError(t, n.Start(soon(t)))
	cfg := again(n)
	one, other := channelPair(t)
	var staged *Staged
	taken := async(func() (handoff.Taken, error) {
		defer other.Close()
		stage := func(_ context.Context, state []byte, fds []int) (_ handoff.Staged, err error) {
			staged, err = Restore(cfg, state, fds)
			return staged, err
		}
		return (&handoff.Acceptance{Terms: cfg.Terms(), Stage: stage}).Take(soon(t), other)
	})
	h, err := n.Offer().Give(soon(t), one)
	require.True(t, h.Moved)
	var failed *handoff.StartError
	require.ErrorAs(t, err, &failed)
	require.Contains(t, failed.Reason, errRefused.Error())
	there := arrives(t, taken, "the new owner")
	require.True(t, there.v.Owns)
	require.ErrorIs(t, there.err, errRefused)
	require.NoError(t, staged.Node().Close())
}
