package tls

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// A refusal is what one side has said about the other.
type refusal struct{ err error }

// hearing makes a node report handshakes that failed.
func hearing() (func(*nodes.Config), <-chan refusal) {
	heard := make(chan refusal, 100)
	return func(cfg *nodes.Config) {
		cfg.HandshakeFailed = func(_ transport.Addr, err error) {
			select {
			case heard <- refusal{err}:
			default:
			}
		}
	}, heard
}

// We refuse Erlang nodes with a wrong certificate or protocol, and they learn why; no other
// connection is harmed.
func TestWeRefuseErlang(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a, other := newAuthority(t), newAuthority(t)
		c := a.sign(t, want{})
		port := r.Epmd(t)
		for _, v := range refusals() {
			t.Run(v.name, func(t *testing.T) {
				hear, heard := hearing()
				n := startNode(t, port, fromFile(t, a.mutual(t, c, v.option), tlstransport.Options{}), hear)
				good := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: a.mutual(t, c, v.option)})
				require.Equal(t, "pong", good.Eval(t, "net_adm:ping('"+n.Name()+"')"))
				for _, tt := range []struct {
					name   string
					server string // the peer's
					client string
					check  tlstransport.Failure
					log    string // what the peer logs
				}{
					{"no certificate", a.options(c), "{verify,verify_none}," + v.option, tlstransport.FailureNoCertificate, ""},
					{"other authority", a.options(c), other.options(other.sign(t, want{}), v.option, "{verify,verify_none}"),
						tlstransport.FailureUnknownAuthority, "Unknown CA"},
					{"expired", a.options(c), a.options(a.sign(t, want{expired: true}), v.option, "{verify,verify_none}"), tlstransport.FailureExpired,
						"Certificate Expired"},
				} {
					t.Run(tt.name, func(t *testing.T) {
						bad := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: a.file(t, tt.server, tt.client)})
						require.Equal(t, "pang", bad.Eval(t, "net_adm:ping('"+n.Name()+"')"))
						var e *tlstransport.PeerError
						require.ErrorAs(t, (<-heard).err, &e)
						require.Equal(t, tt.check, e.Failure, e)
						require.False(t, e.ByPeer)
						// In TLS 1.3 the connection is already up for the peer when the alert
						// comes; OTP 27 does not log every alert then.
						if tt.log != "" && v.number == tls.VersionTLS12 {
							logs(t, bad, tt.log)
						}
						require.Equal(t, "pong", good.Eval(t, "net_adm:ping('"+n.Name()+"')"))
					})
				}
				// TCP to a node that expects TLS, and the other way round.
				plain := r.Start(t, otp.Options{EpmdPort: port})
				require.Equal(t, "pang", plain.Eval(t, "net_adm:ping('"+n.Name()+"')"))
				var e *tlstransport.PeerError
				require.ErrorAs(t, (<-heard).err, &e)
				require.Equal(t, tlstransport.FailureTLS, e.Failure, e)
				hasty := startNode(t, port, fromFile(t, a.mutual(t, c, v.option), tlstransport.Options{HandshakeTimeout: 2 * time.Second}))
				_, err := hasty.Connect(background(t), plain.Name())
				require.ErrorAs(t, err, &e)
				require.Contains(t, []tlstransport.Failure{tlstransport.FailureClosed, tlstransport.FailureTLS, tlstransport.FailureTime}, e.Failure, e)
				require.Equal(t, plain.Name(), e.Node)
				require.Equal(t, []string{good.Name()}, n.Peers())
				require.Equal(t, "pong", good.Eval(t, "net_adm:ping('"+n.Name()+"')"))
			})
		}
	})
}

// We are refused by Erlang nodes, and say why; and we refuse Erlang nodes that we connect to.
func TestErlangRefusesUs(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a, other := newAuthority(t), newAuthority(t)
		c := a.sign(t, want{})
		for _, v := range refusals() {
			t.Run(v.name, func(t *testing.T) {
				port := r.Epmd(t)
				erl := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: a.mutual(t, c, v.option)})
				elsewhere := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: a.mutual(t, a.sign(t, want{host: "elsewhere"}), v.option)})
				late := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: a.mutual(t, a.sign(t, want{expired: true}), v.option)})
				verified := "{verify,verify_peer}"
				for _, tt := range []struct {
					name   string
					client string
					to     *otp.Node
					checks []tlstransport.Failure
					byPeer bool
					alert  string // which the peer logs
				}{
					{"no certificate", v.option, erl, []tlstransport.Failure{tlstransport.FailureNoCertificate, tlstransport.FailureHandshake}, true, ""},
					{"our authority is not theirs", other.options(other.sign(t, want{}), "{verify,verify_none}", v.option), erl,
						[]tlstransport.Failure{tlstransport.FailureUnknownAuthority}, true, "Unknown CA"},
					{"ours has expired", a.options(a.sign(t, want{expired: true}), v.option), erl,
						[]tlstransport.Failure{tlstransport.FailureExpired}, true,
						"Certificate Expired"},
					{"their authority is not ours", other.options(c, verified, v.option), erl,
						[]tlstransport.Failure{tlstransport.FailureUnknownAuthority}, false, ""},
					{"theirs has expired", a.options(c, verified, v.option), late, []tlstransport.Failure{tlstransport.FailureExpired}, false, ""},
					{"theirs is for another host", a.options(c, verified, v.option), elsewhere,
						[]tlstransport.Failure{tlstransport.FailureHost}, false, ""},
				} {
					t.Run(tt.name, func(t *testing.T) {
						n := startNode(t, port, fromFile(t, a.file(t, a.options(c), tt.client), tlstransport.Options{}))
						_, err := n.Connect(background(t), tt.to.Name())
						var e *tlstransport.PeerError
						require.ErrorAs(t, err, &e)
						require.Contains(t, tt.checks, e.Failure, e)
						require.Equal(t, tt.byPeer, e.ByPeer, e)
						require.Equal(t, tt.to.Name(), e.Node)
						if tt.alert != "" {
							logs(t, tt.to, "generated SERVER ALERT: Fatal - "+tt.alert)
						}
					})
				}
				// With verify_none neither side minds.
				n := startNode(t, port, fromFile(t, a.file(t, a.options(c), a.options(c, "{verify,verify_none}", v.option)), tlstransport.Options{}))
				_, err := n.Connect(background(t), elsewhere.Name())
				require.NoError(t, err)
			})
		}
	})
}

// Erlang nodes that connect to us refuse our certificate if it is wrong. Both sides say so.
func TestErlangRefusesOurServer(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a, other := newAuthority(t), newAuthority(t)
		c := a.sign(t, want{})
		port := r.Epmd(t)
		host, hostAlert := tlstransport.FailureCertificate, "Bad Certificate"
		if r.Number < 26 {
			host, hostAlert = tlstransport.FailureHandshake, "Handshake Failure"
		}
		for _, v := range refusals() {
			t.Run(v.name, func(t *testing.T) {
				erl := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: a.mutual(t, c, v.option)})
				for _, tt := range []struct {
					name   string
					server string // ours
					check  tlstransport.Failure
					alert  string // what the peer logs
				}{
					{"another host", a.options(a.sign(t, want{host: "elsewhere"}), v.option), host, hostAlert},
					{"expired", a.options(a.sign(t, want{expired: true}), v.option), tlstransport.FailureExpired, "Certificate Expired"},
					{"another authority", other.options(other.sign(t, want{}), v.option), tlstransport.FailureUnknownAuthority, "Unknown CA"},
				} {
					t.Run(tt.name, func(t *testing.T) {
						hear, heard := hearing()
						n := startNode(t, port, fromFile(t, a.file(t, tt.server, a.options(c)), tlstransport.Options{}), hear)
						require.Equal(t, "pang", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
						var e *tlstransport.PeerError
						require.ErrorAs(t, (<-heard).err, &e)
						require.Equal(t, tt.check, e.Failure, e)
						require.True(t, e.ByPeer, e)
						logs(t, erl, "generated CLIENT ALERT: Fatal - "+tt.alert)
						require.Empty(t, n.Peers())
					})
				}
			})
		}
	})
}

// What a certificate lacks that Erlang nodes refuse depends on the role: a server wants one that is
// good for clients, whatever host it is for, and a client one for servers.
func TestErlangRefusesUsages(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		c := a.sign(t, want{})
		port := r.Epmd(t)
		forServers := a.sign(t, want{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		forClients := a.sign(t, want{usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		noSigning := a.sign(t, want{keys: x509.KeyUsageKeyEncipherment})
		elsewhere := a.sign(t, want{host: "elsewhere"})
		for _, v := range refusals() {
			t.Run(v.name, func(t *testing.T) {
				erl := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: a.mutual(t, c, v.option)})
				for _, tt := range []struct {
					name           string
					server, client made
					theyConnect    bool
					refused        bool
				}{
					{"a client's for servers", c, forServers, false, true},
					{"a client's without digitalSignature", c, noSigning, false, r.Number > 26},
					{"a client's for elsewhere", c, elsewhere, false, false},
					{"a server's for clients", forClients, c, true, true},
				} {
					t.Run(tt.name, func(t *testing.T) {
						hear, heard := hearing()
						n := startNode(t, port, fromFile(t, a.file(t, a.options(tt.server,
							v.option), a.options(tt.client, v.option)),
							tlstransport.Options{}), hear)
						var err error
						if tt.theyConnect {
							require.Equal(t, "pang", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
							err = (<-heard).err
						} else {
							_, err = n.Connect(background(t), erl.Name())
						}
						if !tt.refused {
							require.NoError(t, err)
							return
						}
						var e *tlstransport.PeerError
						require.ErrorAs(t, err, &e)
						require.True(t, e.ByPeer, e)
						require.Equal(t, !tt.theyConnect, e.Client, e)
						require.Contains(t, []tlstransport.Failure{tlstransport.FailureCertificate,
							tlstransport.FailureHandshake}, e.Failure, e)
						var alert tlstransport.Alert
						require.ErrorAs(t, err, &alert)
						require.ErrorContains(t, err, "alert ")
						t.Log(err)
					})
				}
			})
		}
	})
}

// A peer that speaks only old versions of TLS is refused, whichever side connects, and each side
// names the version as the reason.
func TestOldProtocol(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		c := a.sign(t, want{})
		port := r.Epmd(t)
		erl := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: a.mutual(t, c, "{versions,['tlsv1.1']}")})
		hear, heard := hearing()
		n := startNode(t, port, fromFile(t, a.mutual(t, c), tlstransport.Options{}), hear)
		require.Equal(t, "pang", erl.Eval(t, "net_adm:ping('"+n.Name()+"')"))
		var e *tlstransport.PeerError
		require.ErrorAs(t, (<-heard).err, &e)
		require.Equal(t, tlstransport.FailureProtocol, e.Failure, e)
		require.False(t, e.ByPeer, e)
		logs(t, erl, "received SERVER ALERT: Fatal - Protocol Version")
		_, err := n.Connect(background(t), erl.Name())
		require.ErrorAs(t, err, &e)
		require.Equal(t, tlstransport.FailureProtocol, e.Failure, e)
		require.Equal(t, erl.Name(), e.Node)
		require.Empty(t, n.Peers())
	})
}

// logs waits until an Erlang node has logged text, which may take a while.
func logs(t *testing.T, erl *otp.Node, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(erl.Log(), text) }, limit, 10*time.Millisecond, "%s: not in the log", text)
}

// What OTP does not check: a node with a good certificate under a name that is not its own, and one
// that is not on a list.
func TestChecksOfNames(t *testing.T) {
	otp.Together(t, func(t *testing.T, r otp.Release) {
		a := newAuthority(t)
		ours := a.sign(t, want{})
		port := r.Epmd(t)
		theirs := a.mutual(t, a.sign(t, want{emails: []string{"bob@127.0.0.1", "carol@127.0.0.1"}}))
		hear, heard := hearing()
		n := startNode(t, port, fromFile(t, a.mutual(t, ours), tlstransport.Options{
			Checks: []tlstransport.PeerCheck{tlstransport.NameInCertificate, tlstransport.AllowedNodes("bob@127.0.0.1", "evil@127.0.0.1")},
		}), hear)
		bob := r.Start(t, otp.Options{Name: "bob", EpmdPort: port, TLSOptFile: theirs})
		require.Equal(t, "pong", bob.Eval(t, "net_adm:ping('"+n.Name()+"')"))
		for name, text := range map[string]string{"evil": "the certificate is for", "carol": "not on the list"} {
			peer := r.Start(t, otp.Options{Name: name, EpmdPort: port, TLSOptFile: theirs})
			require.Equal(t, "pang", peer.Eval(t, "net_adm:ping('"+n.Name()+"')"))
			err := (<-heard).err
			require.ErrorIs(t, err, tlstransport.ErrNotAllowed)
			require.ErrorContains(t, err, text)
			require.ErrorContains(t, err, name+"@127.0.0.1")
			_, err = n.Connect(background(t), peer.Name())
			require.ErrorIs(t, err, tlstransport.ErrNotAllowed)
		}
		require.Equal(t, []string{bob.Name()}, n.Peers())
	})
}
