package tlstransport

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"sync"
	"time"
)

// A validity knows which of our own certificates, that have expired or are not valid yet, an operator has been told of. Peers refuse such a
// one, and say little of why.
type validity struct {
	mu   sync.Mutex
	told map[[sha256.Size]byte]bool
}

// tellInvalid warns of each certificate of a configuration once.
func (p *plugin) tellInvalid(c *tls.Config, now time.Time) {
	for i := range c.Certificates {
		leaf := c.Certificates[i].Leaf
		if leaf == nil || !now.Before(leaf.NotBefore) && !now.After(leaf.NotAfter) || p.invalid.wasTold(leaf) {
			continue
		}
		what := "the certificate of this node has expired"
		if now.Before(leaf.NotBefore) {
			what = "the certificate of this node is not valid yet"
		}
		p.log.Warn(what+": peers that verify it refuse the connection", "subject", leaf.Subject.String(), "from", leaf.NotBefore, "until",
			leaf.NotAfter)
	}
}

// wasTold reports whether it has been asked about a certificate before.
func (v *validity) wasTold(c *x509.Certificate) (before bool) {
	sum := sha256.Sum256(c.Raw)
	v.mu.Lock()
	defer v.mu.Unlock()
	if before = v.told[sum]; !before {
		if v.told == nil {
			v.told = map[[sha256.Size]byte]bool{}
		}
		v.told[sum] = true
	}
	return before
}
