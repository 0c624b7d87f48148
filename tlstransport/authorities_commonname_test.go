package tlstransport

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
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
				value := expect.NoError(asn1.Marshal(tt.others)).In(t)
				c.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}}
			}
			require.Equal(t, tt.counts, checkHost(c, "localhost", false) == nil)
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
		require.Equal(t, counts, checkHost(c, host, false) == nil, "%q", host)
	}
	require.ErrorContains(t, checkHost(c, "b.example.net", false),
		"names with a * count only with {customize_hostname_check,")
	require.NotContains(t, checkHost(c, "b.example.org", false).Error(), "names with a *")
}

// With customize_hostname_check names with a * count. The table is what
// public_key:pkix_verify_hostname_match_fun(https) of OTP 25, 27 and 29 says, but for addresses,
// which it would compare as if they were names.
func TestNamesWithStars(t *testing.T) {
	for _, tt := range []struct {
		host, name string
		counts     bool
	}{
		{"a.b.c", "*.b.c", true}, {"A.b.c", "*.b.c", true}, {"a.b.c", "*.B.c", true}, {"a.b.c",
			"a*.b.c", true}, {"a.b.c", "*a.b.c", true},
		{"ab.c", "ab*.c", true}, {"xyz.c", "x*z.c", true}, {"x.c", "x*x.c", false}, {"b.c", "*.b.c",
			false}, {"x.a.b.c", "*.b.c", false},
		{"a", "*", true}, {"a.b.c", "a.*.c", false}, {"a.b.c", "a.b.c", true}, {"a.c", "**.c",
			false}, {"xn--a.c", "*.c", true},
		{"127.0.0.1", "*.0.0.1", false}, {"127.0.0.1", "127.0.0.1", true},
	} {
		c := &x509.Certificate{DNSNames: []string{tt.name}}
		require.Equal(t, tt.counts, checkHost(c, tt.host, true) == nil, "%v", tt)
		require.Equal(t, tt.counts && !strings.Contains(tt.name, "*"), checkHost(c, tt.host,
			false) == nil, "%v", tt)
	}
}
