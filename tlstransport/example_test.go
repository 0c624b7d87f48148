package tlstransport_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

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
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a@127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
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

// A transport of a tls.Config with which both sides show certificates and verify them.
func Example() {
	cert, pool := selfSigned()
	both := &tls.Config{
		Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
	tr, err := tlstransport.New(tlstransport.Config{Server: both, Client: both, Options: tlstransport.Options{
		Checks: []tlstransport.PeerCheck{tlstransport.NameInCertificate, tlstransport.AllowedNodes("a@127.0.0.1")},
	}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	at, err := transport.ParseAddr("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	l, err := tr.Listen(at, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	c, err := tr.Connect(ctx, transport.WithPeerName(l.Addr(), "b@127.0.0.1"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	if _, err := c.Writev(ctx, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	p := make([]byte, 10)
	n, err := s.Read(ctx, p)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", p[:n])
	fmt.Println(s.CheckPeer(ctx, "a@127.0.0.1"))
	fmt.Println(errors.Is(s.CheckPeer(ctx, "evil@127.0.0.1"), tlstransport.ErrNotAllowed))
	fmt.Println(tr.Movable())
	// Output:
	// hello
	// <nil>
	// true
	// true
}

// An option that cannot be honoured in an option file is named.
func ExampleFromOptFile() {
	dir, err := os.MkdirTemp("", "tls")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ssl_dist.conf")
	if err := os.WriteFile(path, []byte(`[{client, [{verify, verify_none}, {handshake, hello}]}].`),
		0o600); err != nil {
		log.Fatal(err)
	}
	_, err = tlstransport.FromOptFile(path, nil)
	var e *tlstransport.OptionError
	if errors.As(err, &e) {
		fmt.Println(e.Role, e.Option, "-", e.Err)
	}
	// Output: client handshake - hello cannot be honoured
}

// How a program finds out why a peer is refused.
func ExamplePeerError() {
	var err error = &transport.OpError{Op: "read", Err: &tlstransport.PeerError{
		Addr: "192.0.2.1:40000", Node: "a@example.org", Failure: tlstransport.FailureExpired, Err: errors.New("x509: …"),
	}}
	var e *tlstransport.PeerError
	if errors.As(err, &e) && e.Failure == tlstransport.FailureExpired {
		fmt.Println(e.Node, "needs a new certificate")
	}
	// Output: a@example.org needs a new certificate
}
