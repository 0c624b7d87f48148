package tlstransport

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"sync"
	"time"
)

// A validity remembers for which of our own certificates, expired or not valid yet, a warning has
// been logged. Peers refuse such a certificate, and hardly say why.
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

// wasTold reports whether wasTold has been called for c before.
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
