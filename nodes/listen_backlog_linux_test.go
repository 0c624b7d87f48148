package nodes

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/transport"
)

// Config.Backlog is that of each listener: of Listen, ListenOn, Start and Config.Also.
func TestBacklog(t *testing.T) {
	w := newWorld(t, "tcp")
	backlog := func(l *Listener) int {
		fd := of(l.l.Descriptor()).must(t)
		info := of(unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)).must(t)
		return int(info.Sacked) // of a socket that listens
	}
	free := w.addr("nobody@test")
	n := w.node("bob", func(cfg *Config) { cfg.Backlog = 7 })
	l := listen(t, n, free)
	require.Equal(t, 7, backlog(l))
	l = of(n.ListenOn(w.ctx(), transport.TCP(), free)).must(t)
	require.Equal(t, 7, backlog(l))

	s := w.started("carol", func(cfg *Config) { cfg.Backlog, cfg.Also = 3, []Endpoint{{Addr: free}} })
	require.Len(t, s.Listeners(), 2)
	for _, l := range s.Listeners() {
		require.Equal(t, 3, backlog(l))
	}

	_, l = w.listening("dave")
	require.Greater(t, backlog(l), 7, "by default the system's largest")
	_, err := New(Config{Cookie: "secret", Name: "eve@test", Backlog: -1})
	require.ErrorContains(t, err, "Config.Backlog")
}
