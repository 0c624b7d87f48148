package tlstransport

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A certificate of this node that is not valid is logged once, when the transport is made or later.
func TestInvalidCertificateIsSaid(t *testing.T) {
	a := newAuthority(t, "an authority")
	cert := a.sign(t, want{name: "late"})
	leaf := expect.NoError(x509.ParseCertificate(cert.Certificate[0])).In(t)
	cert.Leaf = leaf
	var said bytes.Buffer
	o := Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}
	c := &tls.Config{Certificates: []tls.Certificate{cert}}
	_, p, err := build(fixed{server: c, client: c}, map[role]bool{server: true, client: true}, o)
	require.NoError(t, err)
	expect := func(at time.Time, text string) {
		t.Helper()
		said.Reset()
		p.tellInvalid(c, at)
		require.Equal(t, text != "", strings.Count(said.String(), "level=WARN") == 1, said.String())
		require.Contains(t, said.String(), text)
	}
	require.Empty(t, said.String())
	expect(leaf.NotBefore, "")
	expect(leaf.NotAfter, "")
	expect(leaf.NotAfter.Add(time.Second), "has expired")
	require.Contains(t, said.String(), "CN=late")
	expect(leaf.NotAfter.Add(time.Hour), "")
	p.invalid = validity{}
	expect(leaf.NotBefore.Add(-time.Second), "is not valid yet")
}

// The same for the files of an option file, and for files that replace them.
func TestExpiredFilesAreSaid(t *testing.T) {
	a, dir := newAuthority(t, "an authority"), t.TempDir()
	ca, cert, key := a.files(t, dir, a.sign(t, want{name: "first", expired: true}))
	// so that the nodes connect all the same
	o := strings.Replace(certOptions(ca, cert, key), "verify_peer", "verify_none", 1)
	var said bytes.Buffer
	b := optBench(t, optFile(t, dir, o, o), Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
	expect := func(names ...string) {
		t.Helper()
		require.Equal(t, len(names), strings.Count(said.String(), "has expired"), said.String())
		for _, name := range names {
			require.Contains(t, said.String(), "CN="+name)
		}
		said.Reset()
	}
	expect("first") // for both roles
	later := time.Now()
	for _, next := range []struct {
		want
		said []string
	}{{want{name: "second", expired: true}, []string{"second"}}, {want{name: "third"}, nil}} {
		a.files(t, dir, a.sign(t, next.want))
		later = later.Add(time.Minute)
		for _, f := range []string{ca, cert, key} {
			require.NoError(t, os.Chtimes(f, later, later))
		}
		client, server := b.pair()
		require.NoError(t, b.cb.Close(client))
		require.NoError(t, b.cb.Close(server))
		expect(next.said...)
	}
}
