package tlstransport

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// A listener refuses peers of many kinds, each with an error that says why, without any effect on
// others: a good connection goes on exchanging messages meanwhile, and new ones are made.
func TestRefusedPeers(t *testing.T) {
	t.Parallel() // it waits
	a, other := newAuthority(t, "an authority"), newAuthority(t, "another authority")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			cfg := restrict(a.mutual(t), version, 0)
			w := newWorkbench(t, cfg, Options{})
			good, gooder := w.talking()

			with := func(change func(c *tls.Config)) func(raw net.Conn) error {
				return func(raw net.Conn) error {
					c := cfg.Clone()
					c.ServerName = "localhost"
					change(c)
					conn := tls.Client(raw, c)
					if err := conn.Handshake(); err != nil {
						return err
					}
					_, err := conn.Read(make([]byte, 1)) // in TLS 1.3 a refusal shows only here
					return err
				}
			}
			says := func(text string) func(raw net.Conn) error {
				return func(raw net.Conn) error {
					if _, err := raw.Write([]byte(text)); err != nil {
						return err
					}
					b, err := io.ReadAll(raw)
					if err == nil && len(b) > 0 && b[0] != typeAlert {
						return errors.New("something else than an alert came")
					}
					return nil
				}
			}
			for _, tt := range []struct {
				name  string
				peer  func(raw net.Conn) error
				check Failure
				text  string // the peer's error
			}{
				{"no certificate", with(func(c *tls.Config) { c.Certificates = nil }), FailureNoCertificate, ""},
				{"other authority", with(func(c *tls.Config) { insist(c, other.sign(t, want{})) }), FailureUnknownAuthority,
					"unknown certificate authority"},
				{"expired", with(func(c *tls.Config) { c.Certificates = []tls.Certificate{a.sign(t, want{expired: true})} }), FailureExpired,
					"expired certificate"},
				{"old protocol", with(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), FailureProtocol,
					"protocol version"},
				{"plain TCP", says("\x00\x15N\x00\x05\x00\x00\x00\x00abcd@127.0.0.1"), FailureTLS, ""},
				{"garbage", says(strings.Repeat("garbage", 1000)), FailureTLS, ""},
				{"a record that is none", says("\x16\x03\x01\x00\x05hello"), FailureSession, ""},
				{"stalled", func(raw net.Conn) error { _, _ = io.ReadAll(raw); return nil }, FailureTime, ""},
				{"stalled in the middle of a record", says("\x16\x03\x01\x01\x00\x01"), FailureTime, ""},
				{"gone", func(raw net.Conn) error { return raw.Close() }, FailureClosed, ""},
				{"gone with close_notify", says("\x15\x03\x01\x00\x02\x01\x00"), FailureClosed, ""},
			} {
				t.Run(tt.name, func(t *testing.T) {
					raw := expect.Open(net.Dial("tcp", w.at.String())).In(t)
					theirs := expect.Aside(func() error { return tt.peer(raw) })
					if tt.check == FailureTime {
						w.l.p.timeout = 2 * time.Second // for the bad peer only: it is read in accept
					}
					s := w.accept()
					w.l.p.timeout = tooLong
					c2, s2 := w.pair() // made after the bad peer, and not delayed by it
					exchange(t, ours{c2}, ours{s2}, 1000)
					_, err := s.read(make([]byte, 1), tooLong)
					e := expect.As[*PeerError](t, err)
					require.Equal(t, tt.check, e.Failure, err)
					require.Equal(t, raw.LocalAddr().String(), e.Addr)
					require.ErrorContains(t, err, string(tt.check))
					_, err2 := s.write([]byte("x"), tooLong)
					require.Equal(t, err, err2)
					require.NoError(t, w.cb.Close(s)) // which ends a peer that still reads
					err = <-theirs
					if tt.text != "" {
						require.ErrorContains(t, err, tt.text)
					}
				})
			}
			exchange(t, ours{good}, ours{gooder}, 10_000)
		})
	}
}

// insist sends a certificate although the server has said that it trusts other authorities.
func insist(c *tls.Config, cert tls.Certificate) {
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
}

// A client of ours refuses servers, and learns why servers refuse it: at the first read if not
// before.
func TestRefusedServers(t *testing.T) {
	t.Parallel() // it waits
	a, other := newAuthority(t, "an authority"), newAuthority(t, "another authority")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tt := range []struct {
			name   string
			server func(c *tls.Config)
			client func(c *tls.Config)
			check  Failure
			byPeer bool
		}{
			{"other authority", func(c *tls.Config) { c.Certificates = []tls.Certificate{other.sign(t, want{})} }, nil, FailureUnknownAuthority,
				false},
			{"expired", func(c *tls.Config) { c.Certificates = []tls.Certificate{a.sign(t, want{expired: true})} }, nil, FailureExpired, false},
			{"other host", func(c *tls.Config) { c.Certificates = []tls.Certificate{a.sign(t, want{hosts: []string{"elsewhere"}})} }, nil,
				FailureHost, false},
			{"unreadable", func(c *tls.Config) { c.Certificates = []tls.Certificate{garbled(a.sign(t, want{}))} }, nil, FailureCertificate, false},
			{"old protocol", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, nil, FailureProtocol, true},
			{"our certificate is missing", nil, func(c *tls.Config) { c.Certificates = nil }, "", true},
			{"our certificate has expired", nil, func(c *tls.Config) { c.Certificates = []tls.Certificate{a.sign(t, want{expired: true})} },
				FailureExpired, true},
			{"our authority is not theirs", nil, func(c *tls.Config) { insist(c, other.sign(t, want{})) }, FailureUnknownAuthority, true},
		} {
			t.Run(tls.VersionName(version)+" "+tt.name, func(t *testing.T) {
				cfg := restrict(a.mutual(t), version, 0)
				scfg := cfg.Clone()
				if tt.server != nil {
					tt.server(scfg)
				}
				l := expect.NoError(tls.Listen("tcp", "127.0.0.1:0", scfg)).In(t)
				var wg sync.WaitGroup
				t.Cleanup(wg.Wait)
				t.Cleanup(func() { l.Close() })
				wg.Go(func() {
					c, err := l.Accept()
					if err == nil {
						_, _ = io.ReadAll(c)
						c.Close()
					}
				})
				if tt.client != nil {
					tt.client(cfg)
				}
				at := expect.NoError(transport.ParseAddr(l.Addr().String())).In(t)
				s := dials(t, cfg, Options{}, transport.WithPeerName(at, "x@localhost"))
				_, err := s.read(make([]byte, 1), tooLong)
				e := expect.As[*PeerError](t, err)
				if tt.check == "" { // certificate_required is an alert of TLS 1.3 only
					tt.check = FailureHandshake
					if version == tls.VersionTLS13 {
						tt.check = FailureNoCertificate
					}
				}
				require.Equal(t, tt.check, e.Failure, err)
				require.Equal(t, tt.byPeer, e.ByPeer)
				require.Equal(t, "x@localhost", e.Node)
				require.Equal(t, at.String(), e.Addr)
				require.ErrorContains(t, err, "x@localhost ("+at.String()+")")
			})
		}
	}
}

// A peer that shares no key exchange group is refused, too, and so is one that cannot check a
// signature made with our key: OTP takes Ed25519 only in TLS 1.3.
func TestNothingInCommon(t *testing.T) {
	t.Parallel() // it waits
	for name, change := range map[string]func(ours, theirs *tls.Config){
		"group": func(ours, theirs *tls.Config) {
			ours.CurvePreferences, theirs.CurvePreferences = []tls.CurveID{tls.CurveP256}, []tls.CurveID{tls.CurveP521}
		},
		"signature": func(ours, _ *tls.Config) {
			ours.Certificates = slices.Clone(ours.Certificates)
			// the key is another one
			ours.Certificates[0].SupportedSignatureAlgorithms = []tls.SignatureScheme{tls.Ed25519}
		},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			cfg := restrict(newAuthority(t, "an authority").mutual(t), version, 0)
			other := cfg.Clone()
			change(cfg, other)
			w := newWorkbench(t, cfg, Options{})
			s, peer := w.against(server, other)
			refused := expect.Aside(func() error { return peer.Handshake() })
			e := expect.As[*PeerError](t, expect.Err(w.cb.Read(s, make([]byte, 1), tooLong)))
			require.Equal(t, FailureProtocol, e.Failure, "%s: %v", name, e)
			require.Error(t, <-refused)
		}
	}
}

// garbled is a certificate that is shown as bytes which are none.
func garbled(c tls.Certificate) tls.Certificate {
	c.Certificate = [][]byte{[]byte("no certificate")}
	return c
}

// AllowedNodes copies its list, so that the caller may change its own.
func TestAllowedNodesKeepsItsList(t *testing.T) {
	names := []string{"a@h"}
	check := AllowedNodes(names...)
	names[0] = "evil@h"
	require.NoError(t, check(Peer{Name: "a@h"}))
	require.Error(t, check(Peer{Name: "evil@h"}))
}

// The checks that OTP lacks: which nodes are allowed, and what a certificate lets a node call
// itself.
func TestPeerChecks(t *testing.T) {
	t.Parallel() // it waits
	a := newAuthority(t, "an authority")
	byMail := a.sign(t, want{emails: []string{"a@localhost", "b@localhost"}})
	byName := a.sign(t, want{name: "c@localhost"})
	byHost := a.sign(t, want{hosts: []string{"h2", "192.0.2.7"}})
	for _, tt := range []struct {
		name   string
		checks []PeerCheck
		cert   *tls.Certificate // of the peer
		verify bool
		node   string
		err    string
	}{
		{"no checks", nil, nil, false, "x@y", ""},
		{"allowed", []PeerCheck{AllowedNodes("x@y", "*@z")}, nil, false, "x@y", ""},
		{"host allowed", []PeerCheck{AllowedNodes("x@y", "*@z")}, nil, false, "any@z", ""},
		{"not allowed", []PeerCheck{AllowedNodes("x@y", "*@z")}, nil, false, "z@y", "not on the list"},
		{"in the certificate", []PeerCheck{NameInCertificate}, &byMail, true, "b@localhost", ""},
		{"its common name", []PeerCheck{NameInCertificate}, &byName, true, "c@localhost", ""},
		{"not in the certificate", []PeerCheck{NameInCertificate}, &byMail, true, "evil@localhost",
			"the certificate is for test, a@localhost, b@localhost"},
		{"not verified", []PeerCheck{NameInCertificate}, &byMail, false, "a@localhost", "has not been verified"},
		{"no certificate", []PeerCheck{NameInCertificate}, nil, true, "a@localhost", "no certificate"},
		{"host in the certificate", []PeerCheck{HostInCertificate}, &byHost, true, "a@h2", ""},
		{"address in the certificate", []PeerCheck{HostInCertificate}, &byHost, true, "a@192.0.2.7", ""},
		{"host not in the certificate", []PeerCheck{AllowedNodes("a@h1"), HostInCertificate}, &byHost, true, "a@h1", "valid for h2"},
		{"no host", []PeerCheck{HostInCertificate}, &byHost, true, "h2", "no host"},
		{"host not verified", []PeerCheck{HostInCertificate}, &byHost, false, "a@h2", "has not been verified"},
		{"host and no certificate", []PeerCheck{HostInCertificate}, nil, true, "a@h2", "no certificate"},
		{"both", []PeerCheck{AllowedNodes("a@localhost"), NameInCertificate}, &byMail, true, "b@localhost", "not on the list"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scfg := &tls.Config{Certificates: []tls.Certificate{a.sign(t, want{})}, ClientCAs: a.pool, ClientAuth: tls.VerifyClientCertIfGiven}
			if !tt.verify {
				scfg.ClientAuth = tls.RequestClientCert
			}
			w := newWorkbench(t, scfg, Options{Checks: tt.checks})
			ccfg := &tls.Config{RootCAs: a.pool}
			if tt.cert != nil {
				ccfg.Certificates = []tls.Certificate{*tt.cert}
			}
			c, s := dials(t, ccfg, Options{}, w.at), w.accept()
			exchange(t, ours{c}, ours{s}, 10)
			err := w.cb.CheckPeer(s, tt.node)
			if tt.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, ErrNotAllowed)
				require.ErrorContains(t, err, tt.err)
				require.ErrorContains(t, err, tt.node)
				e := expect.As[*PeerError](t, err)
				require.Equal(t, s.remote.String(), e.Addr)
				require.NotContains(t, err.Error(), "\n")
			}
		})
	}
}

// The user's key log gets its lines, although we clone the configuration, and through
// GetConfigForClient, too.
func TestKeyLog(t *testing.T) {
	a := newAuthority(t, "an authority")
	var log, other bytes.Buffer
	cfg := a.mutual(t)
	cfg.KeyLogWriter = &log
	inner := cfg.Clone()
	inner.KeyLogWriter = &other
	scfg := cfg.Clone()
	scfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return inner, nil }
	cb := expect.NoError(Callbacks(Config{Server: scfg, Client: cfg})).In(t)
	c, s := benchOf(t, cb).talking()
	require.NotNil(t, c.own, c.stay)
	require.NotNil(t, s.own, s.stay)
	for _, b := range []*bytes.Buffer{&log, &other} {
		require.Contains(t, b.String(), labelClient)
		require.Contains(t, b.String(), labelServer)
	}
}
