package tour

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/certs"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// secret is what only the receiver shall read.
const secret = "key is under the mat"

// protected shows what TLS is for: the same message twice over a tapped line, and a stranger who is
// refused.
func (t *tour) protected(ctx context.Context) (err error) {
	open, err := t.overhear(ctx, nil, nil)
	if err != nil {
		return err
	}
	t.step("A cookie does not keep messages secret. carol told dave something over TCP, and a third party tapped the line:")
	t.result("{dave,'dave@127.0.0.1'} ! <<\""+secret+"\">>", understood(open))

	dir, err := os.MkdirTemp("", "cnode-tour-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := certs.Write(dir, []string{"127.0.0.1"}, time.Now()); err != nil {
		return err
	}
	optFile := filepath.Join(dir, certs.ConfFile)
	carols, err := tlstransport.FromOptFile(optFile, &tlstransport.Options{Logger: t.log})
	if err != nil {
		return err
	}
	var session atomic.Pointer[tls.ConnectionState]
	daves, roots, err := ownTLS(dir, func(s tls.ConnectionState) error { session.Store(&s); return nil })
	if err != nil {
		return err
	}
	sealed, err := t.overhear(ctx, carols, daves)
	if err != nil {
		return err
	}
	state := session.Load()
	if state == nil {
		return errors.New("the message came without TLS")
	}
	t.step("The same over %s (%s), with certificates made on the spot, as cnode-demo certs makes them:",
		tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite))
	t.result("{dave,'dave@127.0.0.1'} ! <<\""+secret+"\">>", understood(sealed))
	t.say("    Each showed the other a certificate of an authority that both trust. So nobody on the line reads or changes what they say,")
	t.say("    or passes for one of them. Erlang nodes do it with -proto_dist inet_tls, and take the same files.")
	if err := t.stranger(ctx, daves, roots); err != nil {
		return err
	}
	return t.moveSealed(ctx, optFile)
}

// ownTLS gives dave's transport, made from a tls.Config with the same files instead of an option
// file, and the authorities that it trusts. met is called for each handshake.
func ownTLS(dir string, met func(tls.ConnectionState) error) (transport.Transport, *x509.CertPool, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, certs.NodeFile), filepath.Join(dir, certs.KeyFile))
	if err != nil {
		return nil, nil, err
	}
	authority, err := os.ReadFile(filepath.Join(dir, certs.CaFile))
	if err != nil {
		return nil, nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, nil, errors.New("the authority's certificate cannot be read")
	}
	tr, err := tlstransport.New(tlstransport.Config{Server: &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert, VerifyConnection: met,
	}})
	return tr, roots, err
}

// overhear makes carol tell dave the secret, each over a transport of its own (nil: TCP), and
// returns what was heard on the line between them.
func (t *tour) overhear(ctx context.Context, carols, daves transport.Transport) (heard []byte, err error) {
	dave, err := t.listener(ctx, "dave", daves)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dave.Close()) }()
	box, err := dave.NewMailbox(nil)
	if err != nil {
		return nil, err
	}
	defer box.Close()
	if err := dave.Register(ctx, "dave", box); err != nil {
		return nil, err
	}
	line, err := tapLine(dave.Listeners()[0].Addr())
	if err != nil {
		return nil, err
	}
	defer func() { heard = line.close() }()
	carol, err := nodes.New(t.private("carol", carols, nodes.Static{dave.Name(): {Addr: line.addr}}))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, carol.Close()) }()
	c, err := carol.Connect(ctx, dave.Name())
	if err != nil {
		return nil, err
	}
	if err := c.SendName(ctx, "dave", ei.Binary(secret)); err != nil {
		return nil, err
	}
	told, err := receiveTerm(ctx, box)
	if word, ok := told.(ei.Binary); err == nil && (!ok || string(word) != secret) {
		err = unexpected(told)
	}
	return nil, err
}

// stranger shows that the cookie alone lets nobody in.
func (t *tour) stranger(ctx context.Context, daves transport.Transport, roots *x509.CertPool) (err error) {
	dave, err := t.listener(ctx, "dave", daves)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dave.Close()) }()
	bare, err := tlstransport.New(tlstransport.Config{Client: &tls.Config{RootCAs: roots}})
	if err != nil {
		return err
	}
	mallory, err := nodes.New(t.private("mallory", bare, nodes.Static{dave.Name(): {Addr: dave.Listeners()[0].Addr()}}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mallory.Close()) }()
	_, err = mallory.Connect(ctx, dave.Name())
	var refused *tlstransport.PeerError
	switch {
	case err == nil:
		return errors.New("a stranger was let in")
	case !errors.As(err, &refused):
		return fmt.Errorf("a stranger must be refused for his certificate: %w", err)
	}
	t.step("A stranger, mallory, who has found out the cookie and has no certificate, came to dave:")
	t.result("net_adm:ping('dave@127.0.0.1')", fmt.Sprintf("pang, refused: %s", refused.Failure))
	return nil
}

// listener is a node which others reach at its address; the port mapper does not know it.
func (t *tour) listener(ctx context.Context, alive string, tr transport.Transport) (*nodes.Node, error) {
	n, err := nodes.New(t.private(alive, tr, nodes.Static{}))
	if err != nil {
		return nil, err
	}
	return n, n.Start(ctx)
}

// private is the configuration of a node that knows its few neighbours by heart.
func (t *tour) private(alive string, tr transport.Transport, neighbours nodes.Static) nodes.Config {
	return nodes.Config{Name: alive + "@127.0.0.1", Cookie: t.cookie, Transport: tr, Resolver: neighbours, Logger: t.log}
}

// understood is what an eavesdropper makes of what was heard: the secret, or else its last bytes.
func understood(heard []byte) string {
	if bytes.Contains(heard, []byte(secret)) {
		return fmt.Sprintf("%d bytes, in clear: %q", len(heard), secret)
	}
	return fmt.Sprintf("%d bytes, nothing to read: … % x", len(heard), heard[max(0, len(heard)-8):])
}
