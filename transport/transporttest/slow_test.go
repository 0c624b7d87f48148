//go:build unix

package transporttest

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// keeps tries some rules, which the plug-in must keep.
func keeps(t *testing.T, f Factory, l limits, rules ...string) {
	t.Helper()
	s := newSuite(f, l)
	s.rules = slices.DeleteFunc(s.rules, func(r rule) bool { return !slices.Contains(rules, r.name) })
	require.Len(t, s.rules, len(rules))
	require.NoError(t, s.check())
}

// A plug-in that reads a byte at a time is not reported for needing many Reads.
func TestNarrowReadsAreNotAccused(t *testing.T) {
	t.Parallel()
	dir := sockdir.New(t)
	cb := smallest()
	read := cb.Read
	cb.Read = func(u *transport.UnixSocket, p []byte, tmo time.Duration) (int, error) {
		return read(u, p[:min(1, len(p))], tmo)
	}
	tr, n := must(t, cb), new(atomic.Int64)
	l := generous()
	l.watchdog = 15 * time.Second
	keeps(t, func() (transport.Transport, transport.Addr, error) {
		a, err := transport.ParseAddr("unix:" + filepath.Join(dir, fmt.Sprint(n.Add(1))))
		return tr, a, err
	}, l, "CancelOneWay")
}

// A slow link is not reported as long as bytes come.
func TestSlowLinkIsNotAccused(t *testing.T) {
	t.Parallel()
	tr := virtual.Limit(transport.TCP(), virtual.LimitOptions{Write: 60_000})
	l := generous()
	l.patience = 2 * time.Second
	for _, rule := range []string{"WriteCount", "Writev"} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			keeps(t, always(tr, loopback()), l, rule)
		})
	}
}
