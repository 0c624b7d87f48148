package cnodequic_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	cnodequic "github.com/cnode-go/cnode/contrib/quic"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// selfSigned makes a certificate for 127.0.0.1, and a pool that trusts it.
func selfSigned() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// Two nodes, each of which may call itself only by a name with the host of its certificate.
func Example() {
	cert, pool := selfSigned()
	both := &tls.Config{
		Certificates: []tls.Certificate{cert}, RootCAs: pool,
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
	tr, err := cnodequic.New(cnodequic.Config{
		Server: both, Client: both, Checks: []tlstransport.PeerCheck{tlstransport.HostInCertificate},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	table := nodes.Static{}
	shop, err := nodes.New(nodes.Config{
		Name: "shop@127.0.0.1", Cookie: "secret", Transport: tr, Resolver: table,
		Setup: func(n *nodes.Node) error {
			n.Expose("go", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
			return nil
		},
	})
	if err == nil {
		err = shop.Start(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
	defer shop.Close()
	table["shop@127.0.0.1"] = nodes.Endpoint{Addr: shop.Listeners()[0].Addr()} // or nodes.FixedPort(4433)

	laptop, err := nodes.New(nodes.Config{Name: "laptop@127.0.0.1", Cookie: "secret", Transport: tr, Resolver: table})
	if err == nil {
		err = laptop.Start(ctx)
	}
	if err != nil {
		log.Fatal(err)
	}
	defer laptop.Close()
	fmt.Println(nodes.RPCAs[string](ctx, laptop, "shop@127.0.0.1", "go", "echo", "hello"))
	// Output: hello <nil>
}

// HTTP/3 for browsers, which show no certificate, at the port of a node.
func ExampleConfig_others() {
	cert, pool := selfSigned()
	both := &tls.Config{
		Certificates: []tls.Certificate{cert}, RootCAs: pool,
		ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
	web := &http3.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })}
	tr, err := cnodequic.New(cnodequic.Config{
		Server: both, Client: both,
		Others: map[string]cnodequic.Other{http3.NextProtoH3: {
			TLS:   &tls.Config{Certificates: []tls.Certificate{cert}},
			Serve: func(c *quic.Conn) { _ = web.ServeQUICConn(c) },
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	at, _ := transport.ParseAddr("127.0.0.1:0")
	l, err := tr.Listen(at, 0) // as a node does
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()

	browser := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer browser.Close()
	r, err := (&http.Client{Transport: browser}).Get("https://" + l.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer r.Body.Close()
	fmt.Println(r.Status)
	// Output: 200 OK
}
