package cnodequic_test

import (
	"crypto/tls"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	cnodequic "github.com/cnode-go/cnode/contrib/quic"
	"github.com/cnode-go/cnode/test/leak"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

func loopback(t testing.TB) transport.Addr {
	t.Helper()
	at, err := transport.ParseAddr("127.0.0.1:0")
	require.NoError(t, err)
	return at
}

func TestConformance(t *testing.T) {
	cert, pool := selfSigned()
	both := &tls.Config{
		Certificates: []tls.Certificate{cert}, RootCAs: pool,
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
	tr, err := cnodequic.New(cnodequic.Config{Server: both, Client: both})
	require.NoError(t, err)
	transporttest.Run(t, func() (transport.Transport, transport.Addr, error) { return tr, loopback(t), nil })
}
