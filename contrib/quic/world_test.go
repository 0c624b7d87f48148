package cnodequic_test

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	cnodequic "github.com/cnode-go/cnode/contrib/quic"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

func TestMain(m *testing.M) {
	if os.Getenv(asOther) != "" {
		other()
	}
	os.Exit(leak.Run(m))
}

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	a := &authority{key: key, pool: x509.NewCertPool()}
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.pool.AddCert(a.cert)
	return a
}

// both is the configuration of both sides of a node with that name, whose certificate edit may
// change. The certificate is for the name, and for its host.
func (a *authority) both(t testing.TB, node string, edit ...func(c *x509.Certificate)) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, host, _ := strings.Cut(node, "@")
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: node}, EmailAddresses: []string{node},
		KeyUsage: x509.KeyUsageDigitalSignature, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	for _, f := range edit {
		f(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: a.pool,
		ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

// config is a Config of which edit may change something.
func config(both *tls.Config, edit ...func(c *cnodequic.Config)) cnodequic.Config {
	c := cnodequic.Config{Server: both, Client: both, Checks: []tlstransport.PeerCheck{tlstransport.NameInCertificate}}
	for _, f := range edit {
		f(&c)
	}
	return c
}

func over(t testing.TB, c cnodequic.Config) transport.Transport {
	t.Helper()
	tr, err := cnodequic.New(c)
	require.NoError(t, err)
	return tr
}

// carried is a transport for a node with that name.
func (a *authority) carried(t testing.TB, node string, edit ...func(c *cnodequic.Config)) transport.Transport {
	t.Helper()
	return over(t, config(a.both(t, node), edit...))
}

func loopback(t testing.TB) transport.Addr {
	t.Helper()
	at, err := transport.ParseAddr("127.0.0.1:0")
	require.NoError(t, err)
	return at
}

// start starts a node that finds others in the table, and is found there.
func start(t testing.TB, name string, tr transport.Transport, table nodes.Static, edit ...func(c *nodes.Config)) *nodes.Node {
	t.Helper()
	cfg := nodes.Config{
		Name: name, Cookie: "secret", Transport: tr, Resolver: table,
		Setup: func(n *nodes.Node) error {
			n.Expose("go", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
			return nil
		},
	}
	for _, f := range edit {
		f(&cfg)
	}
	n, err := nodes.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { n.Close() })
	require.NoError(t, n.Start(expect.Context(t)))
	table[name] = nodes.Endpoint{Addr: n.Listeners()[0].Addr()}
	return n
}

// calls calls a node.
func calls(t testing.TB, from *nodes.Node, to string, what any) {
	t.Helper()
	got, err := nodes.RPCAs[ei.Raw](expect.Context(t), from, to, "go", "echo", what)
	require.NoError(t, err)
	want, err := ei.Marshal(what)
	require.NoError(t, err)
	require.Equal(t, want[1:], []byte(got))
}

// pair is a connection between two transports.
func pair(t testing.TB, one, other transport.Transport) (client, server *transport.Stream) {
	t.Helper()
	ctx := expect.Context(t)
	l, err := other.Listen(loopback(t), 0)
	require.NoError(t, err)
	defer l.Close()
	client, err = one.Connect(ctx, l.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	server, err = l.Accept(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { server.Close() })
	return client, server
}

// Programs that a test starts, and kills: this one, once more.
const asOther = "CNODE_QUIC_OTHER"

// The times with which nodes notice a peer that has been killed.
const (
	tickTime     = 2 * time.Second
	tickInterval = tickTime / 4
)

func quickly(c *cnodequic.Config)  { c.TickTime = tickTime }
func ticksQuickly(c *nodes.Config) { c.TickInterval = tickInterval }

// pem is what the other process needs of ours: an authority without a key, and a certificate.
func (a *authority) handOver(t testing.TB, node string) (env []string) {
	t.Helper()
	c := a.both(t, node).Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	require.NoError(t, err)
	return []string{fmt.Sprintf("%s=%x %x %x", asOther, a.cert.Raw, c.Certificate[0], key)}
}

// other is the second process: the node other@127.0.0.1, which says where it listens, and connects
// to the node at the address that it is given, if any. It ends when it is killed.
func other() {
	err := func() error {
		var ca, cert, key []byte
		if _, err := fmt.Sscanf(os.Getenv(asOther), "%x %x %x", &ca, &cert, &key); err != nil {
			return err
		}
		root, err := x509.ParseCertificate(ca)
		if err != nil {
			return err
		}
		private, err := x509.ParsePKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		pool.AddCert(root)
		tr, err := cnodequic.New(config(&tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: private}}, RootCAs: pool,
			ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		}, quickly))
		if err != nil {
			return err
		}
		table := nodes.Static{}
		n, err := nodes.New(nodes.Config{
			Name: "other@127.0.0.1", Cookie: "secret", Transport: tr, Resolver: table, TickInterval: tickInterval,
		})
		if err != nil {
			return err
		}
		if err := n.Start(context.Background()); err != nil {
			return err
		}
		fmt.Println(n.Listeners()[0].Addr())
		at, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil {
			return err
		}
		if at = strings.TrimSpace(at); at != "" {
			addr, err := transport.ParseAddr(at)
			if err != nil {
				return err
			}
			table["a@127.0.0.1"] = nodes.Endpoint{Addr: addr}
			if _, err := n.Connect(context.Background(), "a@127.0.0.1"); err != nil {
				return err
			}
		}
		_, err = io.Copy(io.Discard, os.Stdin)
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// startOther starts the second process, and has it connect to the address, if there is one.
func (a *authority) startOther(t testing.TB, connectTo string) (cmd *exec.Cmd, at transport.Addr) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env, cmd.Stderr = append(os.Environ(), a.handOver(t, "other@127.0.0.1")...), os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = in.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	at, err = transport.ParseAddr(strings.TrimSpace(line))
	require.NoError(t, err)
	_, err = fmt.Fprintln(in, connectTo)
	require.NoError(t, err)
	return cmd, at
}
