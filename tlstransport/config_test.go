package tlstransport

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A configuration that can never work is an error at once.
func TestNewRefuses(t *testing.T) {
	good := newAuthority(t, "an authority").mutual(t)
	old := good.Clone()
	old.MaxVersion = tls.VersionTLS11
	for says, cfg := range map[string]Config{
		"neither a server's nor a client's":   {},
		"Config.Server has no certificate":    {Server: &tls.Config{}},
		"Config.Server.MaxVersion is TLS 1.1": {Server: old, Client: good},
		"Config.Client.MaxVersion is TLS 1.1": {Server: good, Client: old},
		"Options.HandshakeTimeout is -1s":     {Server: good, Options: Options{HandshakeTimeout: -time.Second}},
	} {
		require.ErrorContains(t, expect.Err(New(cfg)), says)
	}
}

// A key of TLS 1.3 protects no more than defaultKeyUpdate records, whatever the options say.
func TestKeysAreReplacedInTime(t *testing.T) {
	cfg := newAuthority(t, "an authority").mutual(t)
	for set, want := range map[uint64]uint64{0: defaultKeyUpdate, 5: 5, defaultKeyUpdate: defaultKeyUpdate,
		defaultKeyUpdate + 1: defaultKeyUpdate} {
		_, p, err := build(fixed{client: cfg}, map[role]bool{client: true}, Options{keyUpdateRecords: set})
		require.NoError(t, err)
		require.Equal(t, want, p.updateRecords)
	}
}
