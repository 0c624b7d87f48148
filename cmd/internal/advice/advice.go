// Package advice says what to do about the errors of a command that talks to nodes.
package advice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cnode-go/cnode/internal/protocol"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// page is where each kind of error that has a section is explained at length.
const page = "docs/operate/troubleshooting.md"

// Of gives what the user reads about err: the error, and what to do about it if that is known, with
// the section of the documents that says more. The kinds of one command alone come first.
func Of(err error, own ...Kind) string {
	for _, k := range slices.Concat(own, kinds) {
		if what := k.About(err); what != "" {
			if k.Section != "" {
				what += "\nsee " + page + "#" + k.Section
			}
			return printable(err.Error()) + "\n  " + strings.ReplaceAll(what, "\n", "\n  ")
		}
	}
	return printable(err.Error())
}

// printable gives text with the characters that a terminal would obey escaped as in Go, except
// newlines: errors of TLS contain names from a peer's certificate.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || strconv.IsGraphic(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToGraphic(r), "'"))
		}
	}
	return b.String()
}

// A Kind recognises one kind of error, and says what to do about it.
type Kind struct {
	Name    string
	Section string             // of the page, if one says more
	About   func(error) string // "" for any other error
}

// aboutTLS says what to do when TLS is the trouble.
func aboutTLS(err error) string {
	var file *tlstransport.OptionError
	if errors.As(err, &file) {
		var unread *fs.PathError
		switch {
		case file.Option != "": // the error says what is wrong with that option
			return ""
		case errors.As(err, &unread) && !errors.Is(err, fs.ErrNotExist):
			return ""
		case unread != nil:
			return "cnode-demo certs DIR makes such a file, and what it names."
		}
		return "The file is an Erlang term: a list [{server,[Option]},{client,[Option]}] of options of ssl, see erl -man ssl_distribution.\n" +
			"cnode-demo certs DIR makes one."
	}
	var e *tlstransport.PeerError
	if !errors.As(err, &e) {
		return ""
	}
	return aboutPeer(e)
}

// aboutPeer says what to do when the two sides do not agree on TLS. What is wanted depends on who
// refuses whom, and in which role.
func aboutPeer(e *tlstransport.PeerError) string {
	whose, other := "The other node's certificate", "here"
	if e.ByPeer {
		whose, other = "This node's certificate", "there"
	}
	const (
		shows    = "openssl x509 -in FILE -noout -text shows "
		mismatch = "The certificates or options of the two nodes do not match; the other node's\n" +
			"log may say more."
	)
	switch e.Failure {
	case tlstransport.FailureUnknownAuthority:
		return whose + " has to be signed by an authority in the cacertfile " + other + ",\n" +
			"whose certificate can be read there: a warning at the start says which cannot. Nodes that\n" +
			"share one directory made by cnode-demo certs understand each other."
	case tlstransport.FailureExpired:
		return whose + " has to be replaced, or a clock to be set:\n" +
			"openssl x509 -in FILE -noout -dates says when it is good."
	case tlstransport.FailureNoCertificate:
		if e.ByPeer {
			return "Servers with fail_if_no_peer_cert want a certificate of clients too: certfile and\n" +
				"keyfile in the client section here."
		}
		return "fail_if_no_peer_cert here wants a certificate of clients too: certfile and keyfile in\n" +
			"the other node's client section."
	case tlstransport.FailureTLS, tlstransport.FailureTime, tlstransport.FailureClosed:
		return "Does the other node use TLS at all (-proto_dist inet_tls, --transport tls)? Its log may say more."
	case tlstransport.FailureSession:
		return "The TLS session has broken; the other node's log may say why."
	case tlstransport.FailureCertificate, tlstransport.FailureHandshake, tlstransport.FailureHost:
	default:
		return mismatch
	}
	switch server := e.ByPeer != e.Client; { // the certificate that is refused is a server's
	case e.Failure == tlstransport.FailureHandshake && !e.ByPeer:
		return mismatch
	case server && (e.Failure == tlstransport.FailureHost || e.ByPeer):
		return whose + " has to name the host that is in the node's name, behind the \"@\":\n" +
			shows + "which ones it names, under Subject Alternative Name. Its\n" +
			"Extended Key Usage, if it is there, has to have TLS Web Server Authentication."
	case server:
		return "The message says what is wrong with the other node's certificate, which has to be\n" +
			"good for a server: " + shows + "it."
	}
	return whose + " has to be good for a client: its Extended Key Usage, if it is there,\n" +
		"has to have TLS Web Client Authentication (clientAuth), its Key Usage Digital Signature:\n" +
		shows + "them. It is the one of certfile in the client section;\n" +
		"without one, a server with fail_if_no_peer_cert refuses, too."
}

// kinds are tried in this order; the first that knows the error counts.
var kinds = []Kind{
	{"wrong cookie", "wrong-cookie", func(err error) string {
		var h *dist.HandshakeError
		if !errors.As(err, &h) {
			return ""
		}
		if !errors.Is(err, dist.ErrBadCookie) && (h.Phase != protocol.PhaseChallengeAck || !ended(h.Err)) {
			return ""
		}
		return "The two nodes most likely have different cookies. Give both the same: --cookie SECRET here (erl -setcookie SECRET there),\n" +
			"or the same first line in the file .erlang.cookie of both home directories."
	}},
	{"TLS", "tls", aboutTLS},
	{"flag refused", "mandatory-distribution-flags-are-missing", func(err error) string {
		var h *dist.HandshakeError
		if !errors.As(err, &h) || !errors.Is(err, dist.ErrMissingFlags) {
			return ""
		}
		return fmt.Sprintf("The other node lacks %s, without which this one cannot talk to it. It is too old (OTP 22 or earlier),\n"+
			"or a C-node made with an old libei: upgrade it.", h.Missing)
	}},
	{"not allowed", "not_allowed-the-accepting-node-does-not-allow-it", Is(dist.ErrNotAllowed,
		"The other node accepts certain names only (net_kernel:allow/1): add this node's name there, or take an allowed one with --name.\n"+
			"A connection attempt under the same name that is still going on has the same effect: then try again.")},
	{"connected under this name", "already-connected", Is(dist.ErrAlive,
		"A node of this name is connected there already: choose another --name.")},
	{"own name", "a-node-cannot-connect-to-its-own-name", Is(dist.ErrSelf,
		"--name is the name of the node to connect to: leave it out, or choose another one.")},
	{"another node", "another-node-than-the-expected-one", Is(dist.ErrWrongPeer,
		"A node is there, but under another name; its name is in the message. Use that one, host part included: to Erlang\n"+
			"x@localhost, x@127.0.0.1 and x@myhost are three different nodes.")},
	{"closed early", "handshake-failed", func(err error) string {
		var h *dist.HandshakeError
		if !errors.As(err, &h) || !ended(h.Err) {
			return ""
		}
		return "The other side closed the connection during the handshake. Its log says why; is it an Erlang node at all, and does it\n" +
			"want TLS (erl -proto_dist inet_tls)? Then give --transport tls and --tls-optfile FILE."
	}},
	{"name taken", "the-name-is-already-registered-by-another-node", Is(epmd.ErrNameTaken,
		"A node of this name runs already (cnode-demo names lists them): choose another --name, or end that one. If it is a cnode-demo\n"+
			"serve, cnode-demo upgrade NAME and serve --takeover put a new process in its place.")},
	{"not registered", "the-name-is-not-registered", Is(epmd.ErrNotRegistered,
		"The port mapper answers, but no node of that name is registered there: is it running, and is the name right? cnode-demo names\n"+
			"lists the ones that are. Nodes that use another port mapper need the same ERL_EPMD_PORT, or --epmd HOST:PORT.")},
	{"port mapper's port", "", func(err error) string {
		if !errors.Is(err, epmd.ErrNoPortMapper) || !errors.Is(err, syscall.EADDRINUSE) {
			return ""
		}
		return "The port is in use, but not by a port mapper that can be reached there: ss -tnap shows who has it. Choose another one with\n" +
			"ERL_EPMD_PORT, the same for all nodes, or give --epmd HOST:PORT."
	}},
	{"no port mapper", "no-port-mapper-is-listening-there", Is(epmd.ErrNoPortMapper,
		"Nothing listens there. A running Erlang node or serve brings a port mapper along; cnode-demo epmd is one by itself. If it uses\n"+
			"another port, set ERL_EPMD_PORT or give --epmd HOST:PORT.")},
	{"no loopback address", "", func(err error) string {
		var e *epmd.Error
		if !errors.As(err, &e) || !errors.Is(err, syscall.ENETUNREACH) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return ""
		}
		if at, err := netip.ParseAddrPort(e.Addr); err != nil || !at.Addr().IsLoopback() {
			return ""
		}
		return "This machine lacks that address, which its own port mapper is asked at, or its loopback interface is down: " +
			"ip addr show lo says\n" +
			"which, ip link set lo up helps with the second. Where there is only IPv6, run cnode-demo epmd --listen [::1]:PORT and give\n" +
			"--epmd [::1]:PORT."
	}},
	{"no port mapper's protocol", "other-messages-of-the-port-mapper", Is(epmd.ErrProtocol,
		"Something other than a port mapper listens on that port: set ERL_EPMD_PORT or give --epmd HOST:PORT.")},
	{"port mapper refuses", "other-messages-of-the-port-mapper", func(err error) string {
		var e *epmd.Error
		switch {
		case !errors.Is(err, epmd.ErrNoAnswer):
			return ""
		case errors.As(err, &e) && e.Op != "register":
			return "Is that a port mapper? Something listens there and closes the connection without an answer: ss -tlnp shows what. Set\n" +
				"ERL_EPMD_PORT or give --epmd HOST:PORT."
		}
		return "A port mapper registers nodes of its own machine only: use this machine's, or run one (--epmd embedded)."
	}},
	{"port mapper hangs", "other-messages-of-the-port-mapper", func(err error) string {
		var e *epmd.Error
		if !errors.As(err, &e) || !Late(err) {
			return ""
		}
		return "The port mapper hangs or is very busy, or a firewall swallows what is sent to it: " +
			"ss -tlnp shows what has the port. epmd -kill\n" +
			"ends one that hangs; ping, call and names wait longer with --timeout."
	}},
	{"no distribution version", "", Is(epmd.ErrVersion,
		"The other node is too old, or too new, to talk to.")},
	{"unknown host", "the-host-part-of-the-node-name-has-no-address", func(err error) string {
		var d *net.DNSError
		if !errors.Is(err, nodes.ErrUnknownHost) && !errors.As(err, &d) {
			return ""
		}
		return "The host (in node names, the part after the \"@\") is looked up like any other host. Use an address (x@127.0.0.1) if the node " +
			"has one in its\n" +
			"name, or add the host to /etc/hosts."
	}},
	{"cookie file", "no-cookie-given", func(err error) string {
		switch {
		case !errors.Is(err, nodes.ErrNoCookie):
			return ""
		case errors.Is(err, fs.ErrNotExist):
			return "Give --cookie SECRET. Or make the file, with the cookie of your Erlang nodes in its first line and mode 400; erl -sname " +
				"x makes\n" +
				"one with a new cookie."
		}
		return "Give --cookie SECRET, or have the cookie in the first line of the file, readable for you and nobody else (chmod 400)."
	}},
	{"TLS at the other end", "malformed-handshake-message", func(err error) string {
		var h *dist.HandshakeError
		if !errors.As(err, &h) || !errors.Is(err, dist.ErrMalformed) || h.Phase != protocol.PhaseStatus && h.Phase != protocol.PhaseName {
			return ""
		}
		return "That is no message of the distribution protocol. " +
			"If the other node uses TLS (-proto_dist inet_tls), give --transport tls here, too."
	}},
	{"connection lost", "nodedown-noconnection", Is(nodes.ErrNoConnection,
		"The connection ended before the answer came: has the node stopped? Its log may say why. What was asked for may have been done.")},
	{"no remote calls", "", Is(nodes.ErrNoProc,
		"The node does not answer remote calls: it has no process named rex, which few C-nodes have.")},
	{"listen address in use", "", Is(syscall.EADDRINUSE,
		"Something listens at that address already: choose another one (--listen, --also, --http), or leave it out and get a free port. "+
			"A socket in a directory\n"+
			"belongs to a running node of that name.")},
	{"address of another machine", "", Is(syscall.EADDRNOTAVAIL,
		"--listen and --also want an address of this machine (ip addr lists them), or 0.0.0.0 for all.")},
	{"file there already", "", Is(fs.ErrExist, "Nothing is overwritten: choose another name or directory, or remove the file first.")},
	{"refused", "connection-refused", Is(syscall.ECONNREFUSED,
		"The node's port is known, but nobody listens on it at that address. A node that listens on the loopback interface only is reached by\n"+
			"a name such as x@127.0.0.1; else it has ended a moment ago, or a firewall is in between.")},
	{"path too long", "", Is(syscall.ENAMETOOLONG,
		"The path of a UNIX socket has a limit of about 100 bytes, the node's name included: take a shorter directory.")},
	{"no socket", "", func(err error) string {
		var op *transport.OpError
		if !errors.Is(err, syscall.ENOENT) || !errors.As(err, &op) || op.Op != "connect" {
			return ""
		}
		return "No node of that name has its socket there: is it running with --transport unix, and with the same --listen unix:DIRECTORY?"
	}},
	{"permission", "", func(err error) string {
		var op *transport.OpError
		if !errors.Is(err, fs.ErrPermission) || !errors.As(err, &op) || op.Op != "listen" {
			return ""
		}
		return "Ports below 1024 and other users' directories are not for everybody: choose another one (--listen, --also)."
	}},
	{"time of a call", "", func(err error) string {
		var e *nodes.Error
		if !errors.As(err, &e) || !strings.HasPrefix(e.Op, "call ") || !Late(err) {
			return ""
		}
		return "The node is connected, but no answer came in time: what was called still runs there, or the node is stopped or very busy.\n" +
			"ping and call wait longer with --timeout."
	}},
	{"time", "", func(err error) string {
		if !Late(err) {
			return ""
		}
		return "No answer came in time: the other side is stopped or very busy, or a firewall swallows what is sent to it. ping, call\n" +
			"and names wait longer with --timeout."
	}},
	{"interrupted", "", Is(context.Canceled, "Interrupted.")},
}

// Is gives fixed words about one error.
func Is(target error, words string) func(error) string {
	return func(err error) string {
		if errors.Is(err, target) {
			return words
		}
		return ""
	}
}

// Late reports whether err says that a time limit has passed.
func Late(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, epmd.ErrTimeout)
}

// ended tells whether the peer closed the connection.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}
