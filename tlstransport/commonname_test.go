package tlstransport

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// The common name counts only if there are no other names of any kind, as in OTP 25.
func TestCommonNameBesideOthers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		others []asn1.RawValue // nil: there is no such extension
		counts bool
	}{
		{"no others", nil, true},
		{"none of them", []asn1.RawValue{}, true},
		{"a registered identifier", []asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 8, Bytes: []byte{42, 3, 4}}}, false},
		{"a mail address", []asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 1, Bytes: []byte("a@b")}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &x509.Certificate{Subject: pkix.Name{CommonName: "localhost"}}
			if tt.others != nil {
				value, err := asn1.Marshal(tt.others)
				require.NoError(t, err)
				c.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}}
			}
			require.Equal(t, tt.counts, checkHost(c, "localhost") == nil)
		})
	}
}

// An address may be among the DNS names, and must be there literally; names with a * do not count.
func TestNamesThatCountForHost(t *testing.T) {
	c := &x509.Certificate{
		DNSNames: []string{"10.0.0.1", "a.example.org", "*.example.net"}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 3)},
		Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: []byte("some names")}},
	}
	for host, counts := range map[string]bool{
		"10.0.0.1": true, "10.0.0.3": true, "a.example.org": true, "A.Example.Org": true,
		"10.0.0.2": false, "::1": false, "b.example.org": false, "b.example.net": false, "": false,
	} {
		require.Equal(t, counts, checkHost(c, host) == nil, "%q", host)
	}
	require.ErrorContains(t, checkHost(c, "b.example.net"), "names with a * do not count")
	require.NotContains(t, checkHost(c, "b.example.org").Error(), "names with a *")
}
