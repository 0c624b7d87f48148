package advice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
	"github.com/stretchr/testify/require"
)

// Each advice has a row here; errors come wrapped as the packages wrap them.
func TestAdvice(t *testing.T) {
	shake := func(phase string, err error) error {
		return &nodes.Error{Op: "connect", Peer: "x@host", Err: &dist.HandshakeError{Phase: phase, Peer: "x@host", Err: err}}
	}
	asked := func(err error) error {
		return &nodes.Error{Op: "connect", Peer: "x@host", Err: &epmd.Error{Op: "resolve", Addr: "127.0.0.1:4369", Name: "x", Err: err}}
	}
	cookie := func(err error) error {
		return fmt.Errorf("%w, and no cookie file: %w", nodes.ErrNoCookie, &fs.PathError{Op: "open", Path: "/home/me/.erlang.cookie", Err: err})
	}
	socket := func(op string, err error) error {
		return &nodes.Error{Op: op, Peer: "x@host", Err: &transport.OpError{Op: op, Err: err}}
	}
	told := map[string]bool{}
	for _, tt := range []struct {
		kind string
		err  error
		want string
	}{
		{"wrong cookie", shake(protocol.PhaseChallengeAck, dist.ErrBadCookie), "--cookie SECRET"},
		{"wrong cookie", shake(protocol.PhaseChallengeReply, dist.ErrBadCookie), "--cookie SECRET"},
		{"wrong cookie", shake(protocol.PhaseChallengeAck, io.EOF), "--cookie SECRET"},
		{"wrong cookie", shake(protocol.PhaseChallengeAck, syscall.ECONNRESET), "--cookie SECRET"},
		{"TLS", shake(protocol.PhaseName, &tlstransport.PeerError{Failure: tlstransport.FailureUnknownAuthority, Err: io.EOF}), "cacertfile"},
		{"TLS", shake(protocol.PhaseName, &tlstransport.PeerError{Failure: tlstransport.FailureExpired, Err: io.EOF}), "-dates"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureHost,
			Client: true, Err: io.EOF}), "Subject Alternative Name"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureNoCertificate,
			ByPeer: true, Err: io.EOF}), "client section here"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureNoCertificate,
			Err: io.EOF}), "other node's client section"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureHost,
			Client: true, Err: io.EOF}),
			"The other node's certificate has to name the host"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureHandshake,
			ByPeer: true, Err: io.EOF}),
			"This node's certificate has to name the host"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureCertificate,
			ByPeer: true, Client: true, Err: io.EOF}),
			"Digital Signature"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureHandshake,
			ByPeer: true, Client: true, Err: io.EOF}),
			"(clientAuth)"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureCertificate,
			Err: io.EOF}),
			"The other node's certificate has to be good for a client"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureCertificate,
			Client: true, Err: io.EOF}),
			"good for a server"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureHandshake,
			Client: true, Err: io.EOF}), "do not match"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureUnknownAuthority,
			ByPeer: true, Err: io.EOF}),
			"cacertfile there"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureExpired,
			ByPeer: true, Err: io.EOF}),
			"This node's certificate"},
		{"TLS", shake(protocol.PhaseStatus, &tlstransport.PeerError{Failure: tlstransport.FailureSession,
			ByPeer: true, Err: tlstransport.Alert(20)}),
			"has broken"},
		{"TLS", shake(protocol.PhaseName, &tlstransport.PeerError{Failure: tlstransport.FailureTLS, Err: io.EOF}), "-proto_dist inet_tls"},
		{"TLS", &tlstransport.PeerError{Failure: tlstransport.FailureProtocol, Err: io.EOF}, "do not match"},
		{"TLS", &tlstransport.OptionError{File: "f", Err: io.EOF}, "an Erlang term"},
		{"TLS", &tlstransport.OptionError{File: "f", Err: &fs.PathError{Op: "stat", Err: fs.ErrNotExist}}, "certs DIR makes such a file"},
		{"flag refused", &dist.HandshakeError{Missing: dist.FlagV4NC, Err: dist.ErrMissingFlags}, "lacks DFLAG_V4_NC"},
		{"not allowed", shake(protocol.PhaseStatus, dist.ErrNotAllowed), "net_kernel:allow/1"},
		{"connected under this name", shake(protocol.PhaseStatus, dist.ErrAlive), "choose another --name"},
		{"own name", &nodes.Error{Op: "connect", Err: dist.ErrSelf}, "leave it out"},
		{"another node", shake(protocol.PhaseChallenge, dist.ErrWrongPeer), "three different nodes"},
		{"closed early", shake(protocol.PhaseStatus, io.EOF), "-proto_dist inet_tls"},
		{"closed early", shake(protocol.PhaseChallenge, syscall.ECONNRESET), "-proto_dist inet_tls"},
		{"name taken", asked(epmd.ErrNameTaken), "choose another --name"},
		{"not registered", asked(epmd.ErrNotRegistered), "cnode-demo names"},
		{"no port mapper", asked(fmt.Errorf("%w (%w)", epmd.ErrNoPortMapper, syscall.ECONNREFUSED)), "--epmd HOST:PORT"},
		{"port mapper's port", asked(fmt.Errorf("%w; nor can one run here: %w", epmd.ErrNoPortMapper, syscall.EADDRINUSE)), "ss -tnap"},
		{"no loopback address", asked(syscall.ENETUNREACH), "ip link set lo up"},
		{"no loopback address", asked(syscall.EADDRNOTAVAIL), "--epmd [::1]:PORT"},
		{"no port mapper's protocol", asked(epmd.ErrProtocol), "Something other than a port mapper"},
		{"port mapper refuses", asked(epmd.ErrNoAnswer), "Is that a port mapper?"},
		{"port mapper refuses", &epmd.Error{Op: "register", Err: epmd.ErrNoAnswer}, "--epmd embedded"},
		{"port mapper hangs", asked(context.DeadlineExceeded), "--timeout"},
		{"port mapper hangs", asked(epmd.ErrTimeout), "epmd -kill"},
		{"no distribution version", asked(epmd.ErrVersion), "too old"},
		{"unknown host", fmt.Errorf("%w: %q", nodes.ErrUnknownHost, "host"), "/etc/hosts"},
		{"unknown host", asked(&net.OpError{Op: "dial", Err: &net.DNSError{Name: "host"}}), "/etc/hosts"},
		{"cookie file", cookie(fs.ErrNotExist), "erl -sname x makes"},
		{"cookie file", cookie(fs.ErrPermission), "chmod 400"},
		{"cookie file", fmt.Errorf("%w, and the cookie file is empty", nodes.ErrNoCookie), "in the first line of the file"},
		{"TLS at the other end", shake(protocol.PhaseStatus, fmt.Errorf("%w: packet of 5379 bytes", dist.ErrMalformed)), "--transport tls"},
		{"no remote calls", &nodes.ExitError{Reason: ei.Atom("noproc")}, "no process named rex"},
		{"listen address in use", socket("listen", syscall.EADDRINUSE), "choose another one (--listen, --also, --http)"},
		{"address of another machine", socket("listen", syscall.EADDRNOTAVAIL), "0.0.0.0 for all"},
		{"file there already", &fs.PathError{Op: "open", Path: "ca.pem", Err: syscall.EEXIST}, "Nothing is overwritten"},
		{"refused", socket("connect", syscall.ECONNREFUSED), "loopback interface only"},
		{"path too long", fmt.Errorf("address: %w", syscall.ENAMETOOLONG), "shorter directory"},
		{"no socket", socket("connect", syscall.ENOENT), "--transport unix"},
		{"permission", socket("listen", syscall.EACCES), "Ports below 1024"},
		{"connection lost", &nodes.Error{Op: "call m:f/0 at", Err: &nodes.ExitError{Reason: ei.Atom("noconnection")}}, "has the node stopped?"},
		{"time of a call", &nodes.Error{Op: "call m:f/0 at", Err: context.DeadlineExceeded}, "what was called still runs there"},
		{"time", shake(protocol.PhaseStatus, context.DeadlineExceeded), "firewall"},
		{"time", socket("connect", os.ErrDeadlineExceeded), "firewall"},
		{"interrupted", &nodes.Error{Op: "connect", Err: context.Canceled}, "Interrupted"},
	} {
		told[tt.kind] = true
		text := Of(fmt.Errorf("while trying: %w", tt.err))
		require.Contains(t, text, tt.err.Error(), tt.kind)
		require.Contains(t, text, tt.want, tt.kind)
		for _, k := range kinds {
			if k.About(tt.err) != "" { // the first counts
				require.Equal(t, tt.kind, k.Name, text)
				require.Equal(t, k.Section != "", strings.HasSuffix(text, "\n  see "+page+"#"+k.Section), tt.kind)
				break
			}
		}
	}
	for _, k := range kinds {
		require.True(t, told[k.Name], "no row for %q", k.Name)
	}
	require.Equal(t, "no idea", Of(errors.New("no idea")))
	require.Equal(t, `å 'x' \x1b[31m\r \u009b`+"\nnext", Of(errors.New("å 'x' \x1b[31m\r \u009b\nnext")), "names of a peer are in errors")
	for _, err := range []error{ // errors that need no advice
		&tlstransport.OptionError{File: "f", Err: &fs.PathError{Op: "open", Path: "f", Err: fs.ErrPermission}},
		&tlstransport.OptionError{File: "f", Role: "server", Option: "keyfile", Err: &fs.PathError{Op: "open", Path: "k", Err: fs.ErrPermission}},
		&tlstransport.OptionError{File: "f", Role: "server", Option: "password", Err: errors.New("wrong")},
		&fs.PathError{Op: "mkdir", Path: "/etc/cluster", Err: fs.ErrPermission},
		socket("connect", syscall.EACCES),
	} {
		require.Equal(t, err.Error(), Of(err))
	}
	other := &nodes.RPCError{Reason: ei.Tuple{ei.Atom("EXIT"), ei.Atom("boo")}}
	require.Equal(t, other.Error(), Of(other))
}
