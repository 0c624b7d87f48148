package tlstransport

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/transport"
)

// A Peer is a node at the other end of a session, as checks see it.
type Peer struct {
	Name        string            // what it calls itself: alive@host
	Addr        transport.Addr    // where it is; may be nil
	Certificate *x509.Certificate // nil: the peer has sent none
	Verified    bool              // the certificate has been verified against our authorities
}

// A PeerCheck allows a peer, or refuses it with an error. It may be called by several goroutines at
// once, and must not wait.
type PeerCheck func(p Peer) error

// AllowedNodes allows the nodes of a list and no others, as Erlang's net_kernel:allow/1 does. A
// name is whole, alive@host, or *@host for every node of a host. AllowedNodes believes the name
// that a peer tells; use [NameInCertificate] or [HostInCertificate] to verify it.
func AllowedNodes(names ...string) PeerCheck {
	names = slices.Clone(names)
	return func(p Peer) error {
		_, host, _ := strings.Cut(p.Name, "@")
		if slices.Contains(names, p.Name) || slices.Contains(names, "*@"+host) {
			return nil
		}
		return errors.New("the node is not on the list of allowed ones")
	}
}

// NameInCertificate allows a peer only if its certificate gives its name: the node's whole name,
// alive@host, must be among the e-mail names of the certificate's subjectAltName, or be its
// subject's common name. The certificate must have been verified: the role's configuration has to
// ask for that.
func NameInCertificate(p Peer) error {
	if err := p.proven(); err != nil {
		return err
	}
	if slices.Contains(p.Certificate.EmailAddresses, p.Name) || p.Certificate.Subject.CommonName == p.Name {
		return nil
	}
	return fmt.Errorf("the certificate is for %s", strings.Join(append([]string{p.Certificate.Subject.CommonName},
		p.Certificate.EmailAddresses...), ", "))
}

// HostInCertificate allows a peer only if its certificate is for the host of its node name, as
// clients with an option file require of servers: among the names of subjectAltName, or the
// subject's common name if there are none. So it works with the usual certificates of clusters. The
// certificate must have been verified: the role's configuration has to ask for that.
//
// Together with [AllowedNodes] it serves the purpose of Erlang's inet_tls_dist:verify_client/3,
// which also accepts the peer's address as a host, and accepts any certificate as long as
// net_kernel:allow/1 has not been called.
func HostInCertificate(p Peer) error {
	if err := p.proven(); err != nil {
		return err
	}
	_, host, _ := strings.Cut(p.Name, "@")
	if host == "" {
		return errors.New("the node's name has no host")
	}
	return checkHost(p.Certificate, host, false)
}

// proven returns an error if the peer has no verified certificate.
func (p Peer) proven() error {
	switch {
	case p.Certificate == nil:
		return errors.New("the peer has shown no certificate")
	case !p.Verified:
		return errors.New("the peer's certificate has not been verified: the configuration does not ask for it")
	}
	return nil
}
