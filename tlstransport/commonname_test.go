package tlstransport

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
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
