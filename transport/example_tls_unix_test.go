//go:build unix

package transport_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// selfSigned are the two sides of TLS that know one certificate, for the name "here".
func selfSigned() (server, client *tls.Config, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"here"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	return &tls.Config{Certificates: own}, &tls.Config{RootCAs: roots, ServerName: "here"}, nil
}

// A carrier that is composed, not written: TLS over a UNIX socket, of package net's and package
// tls's parts, made unpleasant, slow, and traced in clear text. A node takes it as the Transport of
// its configuration.
func ExampleFromNet_tlsOverUnix() {
	server, client, err := selfSigned()
	if err != nil {
		fmt.Println(err)
		return
	}
	secret := transport.FromNet(transport.Net{
		HeaderSize: 4, // as in OTP over TLS
		Listen: func(a transport.Addr) (net.Listener, error) {
			path, err := transport.UnixPath(a)
			if err != nil {
				return nil, err
			}
			return tls.Listen("unix", path, server)
		},
		Dial: func(ctx context.Context, a transport.Addr) (net.Conn, error) {
			path, err := transport.UnixPath(a)
			if err != nil {
				return nil, err
			}
			return (&tls.Dialer{Config: client}).DialContext(ctx, "unix", path)
		},
	})
	var file bytes.Buffer
	capture := virtual.NewCapture(&file)
	tr := virtual.Fault(secret, virtual.GentleFaults(1))
	tr = virtual.Limit(tr, virtual.LimitOptions{Read: 1e6, Write: 1e6})
	tr = virtual.Trace(tr, virtual.TraceOptions{Capture: capture})

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("/tmp", "tls") // a socket's path must be short
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	l, err := tr.Listen(transport.UnixAddr(filepath.Join(dir, "s")), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	answered := make(chan error, 1)
	go func() {
		s, err := l.Accept(ctx)
		if err == nil {
			defer s.Close()
			_, err = s.Readv(ctx, make([]byte, 9))
		}
		if err == nil {
			_, err = s.Writev(ctx, []byte("a server"))
		}
		answered <- err
	}()
	c, err := tr.Connect(ctx, l.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	p := make([]byte, 8)
	if _, err = c.Writev(ctx, []byte("who "), []byte("are u")); err == nil {
		_, err = c.Readv(ctx, p)
	}
	fmt.Println(string(p), err, <-answered)
	size, err := c.HandshakePacketHeaderSize(ctx)
	fmt.Println("length of handshake packets:", size, err)
	fmt.Println("captured:", capture.Close() == nil && bytes.Contains(file.Bytes(), []byte("a server")))
	// Output:
	// a server <nil> <nil>
	// length of handshake packets: 4 <nil>
	// captured: true
}
