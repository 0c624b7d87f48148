package tlstransport

import (
	"crypto/tls"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
	"github.com/cnode-go/cnode/transport/virtual"
)

// A kind of session has a version and, for TLS 1.2, a cipher suite.
type kind struct {
	name    string
	version uint16
	suite   uint16
}

// kinds are those that can move.
var kinds = []kind{
	{"TLS 1.3", tls.VersionTLS13, 0},
	{"TLS 1.2", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
}

// Sessions that stay with crypto/tls keep the contract as well.
func TestConformancePlain(t *testing.T) {
	t.Parallel() // it waits
	a := newAuthority(t, "an authority")
	of := append(kinds, kind{"TLS 1.2 CBC", tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA})
	if testing.Short() {
		of = of[len(kinds):] // the others run below
	}
	for _, k := range of {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			cfg := restrict(a.mutual(t), k.version, k.suite)
			tr, err := New(Config{Server: cfg, Client: cfg, Options: Options{Plain: true, HandshakeTimeout: tooLong}})
			require.NoError(t, err)
			require.False(t, tr.Movable())
			transporttest.Run(t, func() (transport.Transport, transport.Addr, error) { return tr, loopback(t), nil })
		})
	}
}

func restrict(cfg *tls.Config, version, suite uint16) *tls.Config {
	cfg = cfg.Clone()
	cfg.MinVersion, cfg.MaxVersion = version, version
	if suite != 0 {
		cfg.CipherSuites = []uint16{suite}
	}
	return cfg
}

func loopback(t testing.TB) transport.Addr {
	t.Helper()
	return expect.NoError(transport.ParseAddr("127.0.0.1:0")).In(t)
}

func TestConformance(t *testing.T) {
	t.Parallel() // it waits
	a := newAuthority(t, "an authority")
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			cfg := restrict(a.mutual(t), k.version, k.suite)
			o := Options{keyUpdateRecords: 5, keyUpdateBytes: 100_000, HandshakeTimeout: tooLong}
			tr := expect.NoError(New(Config{Server: cfg, Client: cfg, Options: o})).In(t)
			require.Equal(t, transport.TCP().Movable(), tr.Movable())
			transporttest.Run(t, func() (transport.Transport, transport.Addr, error) { return tr, loopback(t), nil })
		})
	}
}

// Over UNIX sockets, with what wraps them, sessions keep the contract as well, and move.
func TestConformanceOverUnix(t *testing.T) {
	t.Parallel() // it waits
	cfg := newAuthority(t, "an authority").mutual(t)
	client := cfg.Clone()
	client.ServerName = "localhost" // an address of UNIX has no host
	below := virtual.Trace(transport.Unix(), virtual.TraceOptions{})
	tr, err := New(Config{Server: cfg, Client: client, Options: Options{Transport: below, HandshakeTimeout: tooLong}})
	require.NoError(t, err)
	require.Equal(t, below.Movable(), tr.Movable())
	dir, made := sockdir.New(t), 0
	transporttest.Run(t, func() (transport.Transport, transport.Addr, error) {
		made++
		at, err := transport.ParseAddr(fmt.Sprintf("unix:%s/%d", dir, made))
		return tr, at, err
	})
}
