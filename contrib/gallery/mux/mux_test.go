package cnodemux

import (
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/hashicorp/yamux"
	"github.com/stretchr/testify/require"
	"github.com/xtaci/smux"

	"github.com/cnode-go/cnode/contrib/gallery/internal/carry"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

func loopback() transport.Addr {
	at, _ := transport.ParseAddr("127.0.0.1:0")
	return at
}

// A smuxSession is smux's, whose Open gives no net.Conn.
type smuxSession struct{ *smux.Session }

func (s smuxSession) Open() (net.Conn, error)   { return s.OpenStream() }
func (s smuxSession) Accept() (net.Conn, error) { return s.AcceptStream() }

// muxes make a transport of each multiplexer, whose sessions end with the test.
var muxes = map[string]func(t *testing.T) transport.Transport{
	"yamux": func(t *testing.T) transport.Transport {
		made := ending(t)
		cfg := yamux.DefaultConfig()
		cfg.LogOutput = io.Discard
		return New(
			func(c net.Conn) (Session, error) { return made(yamux.Client(c, cfg)) },
			func(c net.Conn) (Session, error) { return made(yamux.Server(c, cfg)) })
	},
	"smux": func(t *testing.T) transport.Transport {
		made := ending(t)
		cfg := smux.DefaultConfig()
		cfg.Version = 2 // with a window for each stream
		wrap := func(s *smux.Session, err error) (Session, error) { return made(smuxSession{s}, err) }
		return New(
			func(c net.Conn) (Session, error) { return wrap(smux.Client(c, cfg)) },
			func(c net.Conn) (Session, error) { return wrap(smux.Server(c, cfg)) })
	},
}

// ending closes sessions at the end of the test.
func ending(t *testing.T) func(s Session, err error) (Session, error) {
	var mu sync.Mutex
	var all []Session
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, s := range all {
			_ = s.Close()
		}
	})
	return func(s Session, err error) (Session, error) {
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, s)
		return s, nil
	}
}

func TestNodes(t *testing.T) {
	for name, mux := range muxes {
		t.Run(name, func(t *testing.T) { carry.Nodes(t, mux(t), loopback) })
	}
}

// A stream whose other end has been closed takes what fits into its window, and then waits: neither
// multiplexer tells the writer. A node reads all the time, and so notices at once (TestNodes). All
// other rules are kept, or skipped: those on descriptors, moving and resets.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about a minute: without -short it runs")
	}
	for name, mux := range muxes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := transporttest.Check(func() (transport.Transport, transport.Addr, error) { return mux(t), loopback(), nil })
			var broken []string
			var many interface{ Unwrap() []error }
			require.ErrorAs(t, err, &many)
			for _, err := range many.Unwrap() {
				rule := new(transporttest.RuleError)
				require.ErrorAs(t, err, &rule)
				broken = append(broken, rule.Rule)
			}
			require.ElementsMatch(t, []string{"WritesToNobody", "CutOff"}, broken, "%v", err)
		})
	}
}
