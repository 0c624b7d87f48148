package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/ask"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/gen"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/mapper"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/move"
	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/top"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
)

// explain gives what the user reads about err: the error, and what to do about it if that is known,
// with the section of the documents that says more.
func explain(err error) string {
	for _, a := range advices {
		if what := a.about(err); what != "" {
			if section := sections[a.kind]; section != "" {
				what += "\nsee " + troubleshooting + "#" + section
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

// An advice recognises one kind of error and says what to do; "" for any other error.
type advice struct {
	kind  string
	about func(error) string
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

// advices are tried in this order; the first that knows the error counts.
var advices = []advice{
	{"wrong cookie", func(err error) string {
		var h *dist.HandshakeError
		if !errors.As(err, &h) {
			return ""
		}
		if !errors.Is(err, dist.ErrBadCookie) && (h.Phase != dist.PhaseChallengeAck || !ended(h.Err)) {
			return ""
		}
		return "The two nodes most likely have different cookies. Give both the same: --cookie SECRET here (erl -setcookie SECRET there),\n" +
			"or the same first line in the file .erlang.cookie of both home directories."
	}},
	{"TLS", aboutTLS},
	{"flag refused", func(err error) string {
		var h *dist.HandshakeError
		if !errors.As(err, &h) || !errors.Is(err, dist.ErrMissingFlags) {
			return ""
		}
		return fmt.Sprintf("The other node lacks %s, without which this one cannot talk to it. It is too old (OTP 22 or earlier),\n"+
			"or a C-node made with an old libei: upgrade it.", h.Missing)
	}},
	{"not allowed", is(dist.ErrNotAllowed,
		"The other node accepts certain names only (net_kernel:allow/1): add this node's name there, or take an allowed one with --name.\n"+
			"A connection attempt under the same name that is still going on has the same effect: then try again.")},
	{"connected under this name", is(dist.ErrAlive,
		"A node of this name is connected there already: choose another --name.")},
	{"own name", is(dist.ErrSelf,
		"--name is the name of the node to connect to: leave it out, or choose another one.")},
	{"another node", is(dist.ErrWrongPeer,
		"A node is there, but under another name; its name is in the message. Use that one, host part included: to Erlang\n"+
			"x@localhost, x@127.0.0.1 and x@myhost are three different nodes.")},
	{"closed early", func(err error) string {
		var h *dist.HandshakeError
		if !errors.As(err, &h) || !ended(h.Err) {
			return ""
		}
		return "The other side closed the connection during the handshake. Its log says why; is it an Erlang node at all, and does it\n" +
			"want TLS (erl -proto_dist inet_tls)? Then give --transport tls and --tls-optfile FILE."
	}},
	{"name taken", is(epmd.ErrNameTaken,
		"A node of this name runs already (cnode-demo names lists them): choose another --name, or end that one. If it is a cnode-demo\n"+
			"serve, cnode-demo upgrade NAME and serve --takeover put a new process in its place.")},
	{"not registered", is(epmd.ErrNotRegistered,
		"The port mapper answers, but no node of that name is registered there: is it running, and is the name right? cnode-demo names\n"+
			"lists the ones that are. Nodes that use another port mapper need the same ERL_EPMD_PORT, or --epmd HOST:PORT.")},
	{"own port mapper", func(err error) string {
		var m *mapper.Error
		switch {
		case !errors.As(err, &m):
			return ""
		case errors.Is(err, syscall.EADDRINUSE):
			return "The port is in use, most likely by another port mapper (epmd). Nodes find that one by themselves (--epmd auto). Or\n" +
				"end it (epmd -kill), or choose another port with ERL_EPMD_PORT, the same for all nodes."
		}
		return "Port mappers listen on addresses of this machine: see --listen and ERL_EPMD_ADDRESS, and ERL_EPMD_PORT for the port."
	}},
	{"port mapper's port", func(err error) string {
		if !errors.Is(err, epmd.ErrNoPortMapper) || !errors.Is(err, syscall.EADDRINUSE) {
			return ""
		}
		return "The port is in use, but not by a port mapper that can be reached there: ss -tnap shows who has it. Choose another one with\n" +
			"ERL_EPMD_PORT, the same for all nodes, or give --epmd HOST:PORT."
	}},
	{"no port mapper", is(epmd.ErrNoPortMapper,
		"Nothing listens there. A running Erlang node or serve brings a port mapper along; cnode-demo epmd is one by itself. If it uses\n"+
			"another port, set ERL_EPMD_PORT or give --epmd HOST:PORT.")},
	{"no loopback address", func(err error) string {
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
	{"no port mapper's protocol", is(epmd.ErrProtocol,
		"Something other than a port mapper listens on that port: set ERL_EPMD_PORT or give --epmd HOST:PORT.")},
	{"port mapper refuses", func(err error) string {
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
	{"port mapper hangs", func(err error) string {
		var e *epmd.Error
		if !errors.As(err, &e) || !late(err) {
			return ""
		}
		return "The port mapper hangs or is very busy, or a firewall swallows what is sent to it: " +
			"ss -tlnp shows what has the port. epmd -kill\n" +
			"ends one that hangs; ping, call and names wait longer with --timeout."
	}},
	{"no distribution version", is(epmd.ErrVersion,
		"The other node is too old, or too new, to talk to.")},
	{"unknown host", func(err error) string {
		var d *net.DNSError
		if !errors.Is(err, nodes.ErrUnknownHost) && !errors.As(err, &d) {
			return ""
		}
		return "The host (in node names, the part after the \"@\") is looked up like any other host. Use an address (x@127.0.0.1) if the node " +
			"has one in its\n" +
			"name, or add the host to /etc/hosts."
	}},
	{"cookie file", func(err error) string {
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
	{"Elixir's module", func(err error) string {
		var e *ask.ElixirError
		var r *nodes.RPCError
		if !errors.As(err, &e) || !errors.As(err, &r) || !undefined(r.Reason) {
			return ""
		}
		return fmt.Sprintf("%s is what Elixir calls a module: add --syntax elixir, or say Elixir.%[1]s.", e.Module)
	}},
	{"refused to watch", is(top.ErrRefused,
		"The node's rules (Config.Rules) do not let this node look: observer.Rules in that program has those that do, for the names of\n"+
			"nodes. If they name one, take it with --name.")},
	{"nothing to watch", func(err error) string {
		if !errors.Is(err, top.ErrNothing) {
			return ""
		}
		return "top shows a BEAM, or a Go node that has nodes/observer: observer.Serve in the program (docs/operate/look-inside.md), or serve\n" +
			"--operator. cnode-demo ping tells whether this one is well."
	}},
	{"no such function", func(err error) string {
		var r *nodes.RPCError
		if !errors.As(err, &r) || !undefined(r.Reason) {
			return ""
		}
		return "There is no such function with that number of arguments on that node. ARGS is the list of the arguments: '[[1,2]]' is one\n" +
			"argument, a list; '[1,2]' are two."
	}},
	{"TLS at the other end", func(err error) string {
		var h *dist.HandshakeError
		if !errors.As(err, &h) || !errors.Is(err, dist.ErrMalformed) || h.Phase != dist.PhaseStatus && h.Phase != dist.PhaseName {
			return ""
		}
		return "That is no message of the distribution protocol. " +
			"If the other node uses TLS (-proto_dist inet_tls), give --transport tls here, too."
	}},
	{"another address", is(upgrade.ErrListens,
		"Leave out --listen and --also, and give the --transport that the running node has. To change them, end that node.")},
	{"socket of systemd", is(nodes.ErrActivation,
		"The first ListenStream= is for --transport, which --listen need not repeat; those that follow are for --also, in the same order and\n"+
			"at the same addresses. One unit with all of them keeps their order. See docs/operate/upgrade.md.")},
	{"plug-in", func(err error) string {
		if !errors.Is(err, handoff.ErrUnknown) || !strings.Contains(err.Error(), "plug-in") {
			return ""
		}
		return "The running node has a --transport (or an --also) that this command line lacks: give the same, for TLS with --tls-optfile."
	}},
	{"workers", func(err error) string {
		if !errors.Is(err, handoff.ErrUnknown) || !strings.Contains(err.Error(), "feature") {
			return ""
		}
		return "A node with workers can be taken over only by a serve with workers, and one without only by one without: give --workers N as\n" +
			"the running node has it, or leave it out; or use cnode-demo upgrade, which starts the program with the running node's flags."
	}},
	{"connection lost", is(nodes.ErrNoConnection,
		"The connection ended before the answer came: has the node stopped? Its log may say why. What was asked for may have been done.")},
	{"no remote calls", is(nodes.ErrNoProc,
		"The node does not answer remote calls: it has no process named rex, which few C-nodes have.")},
	{"upgrade not heard of", is(upgrade.ErrUnsaid,
		"serve may still be doing it, or have done it: cnode-demo call NAME cnode pid, with serve's cookie and transport, tells which\n"+
			"process serves. If it is the old one, upgrade again, which is refused while one is going on.")},
	{"upgraded to a silent process", is(upgrade.ErrSilent,
		"If that process is gone, so is the node: start it again with serve. Its standard error, which is that of the first serve, may say\n"+
			"why. If it is there, cnode-demo call NAME cnode pid, with serve's cookie and transport, tells whether it answers by now.")},
	{"upgraded with trouble", is(move.ErrTroubledOwner,
		"That process is the node now: cnode-demo call NAME cnode pid, with serve's cookie and transport,\n"+
			"tells whether it answers.")},
	{"upgrade of workers not heard of", is(move.ErrWorkersUnsaid,
		"They are upgraded one after the other, which may still be going on. If in doubt, upgrade again: that is refused as long as it is.")},
	{"another hand-off", is(handoff.ErrBusy,
		"Another process is taking the node over, or the running one is not done yet with one that it refused: try again in a moment.")},
	{"no serve", is(move.ErrNoServe,
		"Give the whole name, host part included, as serve printed it after \"ready\". Its control socket is found by "+
			"XDG_RUNTIME_DIR,\n"+
			"or else by the temporary folder (TMPDIR): they have to be the same here and there. A control\n"+
			"socket that has been removed is made anew within seconds, as soon as that folder is there.\n"+
			"A program of your own with nodes/upgrade has such a socket if its Upgrader.Control is upgrade.ControlPath(NAME); kill -HUP PID\n"+
			"upgrades it in any case.")},
	{"listen address in use", is(syscall.EADDRINUSE,
		"Something listens at that address already: choose another one (--listen, --also, --http), or leave it out and get a free port. "+
			"A socket in a directory\n"+
			"belongs to a running node of that name.")},
	{"address of another machine", is(syscall.EADDRNOTAVAIL,
		"--listen and --also want an address of this machine (ip addr lists them), or 0.0.0.0 for all.")},
	{"file by hand", is(gen.ErrByHand, "Nothing written by hand is overwritten: name another file with -o, or remove that one first.")},
	{"no program", is(syscall.ENOEXEC,
		"The system knows no such program: is it for another processor? A script needs a first line such as #!/bin/sh.")},
	{"file there already", is(fs.ErrExist, "Nothing is overwritten: choose another name or directory, or remove the file first.")},
	{"refused", is(syscall.ECONNREFUSED,
		"The node's port is known, but nobody listens on it at that address. A node that listens on the loopback interface only is reached by\n"+
			"a name such as x@127.0.0.1; else it has ended a moment ago, or a firewall is in between.")},
	{"path too long", is(syscall.ENAMETOOLONG,
		"The path of a UNIX socket has a limit of about 100 bytes, the node's name included: take a shorter directory.")},
	{"no socket", func(err error) string {
		var op *transport.OpError
		if !errors.Is(err, syscall.ENOENT) || !errors.As(err, &op) || op.Op != "connect" {
			return ""
		}
		return "No node of that name has its socket there: is it running with --transport unix, and with the same --listen unix:DIRECTORY?"
	}},
	{"permission", func(err error) string {
		var op *transport.OpError
		if !errors.Is(err, fs.ErrPermission) || !errors.As(err, &op) || op.Op != "listen" {
			return ""
		}
		return "Ports below 1024 and other users' directories are not for everybody: choose another one (--listen, --also)."
	}},
	{"reader of a recording", func(err error) string {
		var file *fs.PathError
		if !late(err) || !errors.Is(err, config.ErrUnread) && (!errors.As(err, &file) || file.Op != "write") {
			return ""
		}
		return "What reads the pipe has not begun, or has stopped, and the rest of the recording is lost. A reader that waits for it, such as\n" +
			"tshark -i PIPE, has to be there first, and to go on until the program has ended."
	}},
	{"time of a call", func(err error) string {
		var e *nodes.Error
		if !errors.As(err, &e) || !strings.HasPrefix(e.Op, "call ") || !late(err) {
			return ""
		}
		return "The node is connected, but no answer came in time: what was called still runs there, or the node is stopped or very busy.\n" +
			"ping and call wait longer with --timeout."
	}},
	{"time of a hand-off", func(err error) string {
		var h *handoff.Error
		if !late(err) || !errors.As(err, &h) || h.Owns {
			return ""
		}
		return "The other process did not do its part in time: it is stopped or very busy. " +
			"The node stays where it was; try again once that process\n" +
			"answers (cnode-demo call NAME cnode pid)."
	}},
	{"time", func(err error) string {
		if !late(err) {
			return ""
		}
		return "No answer came in time: the other side is stopped or very busy, or a firewall swallows what is sent to it. ping, call\n" +
			"and names wait longer with --timeout."
	}},
	{"interrupted", is(context.Canceled, "Interrupted.")},
}

// is gives fixed words about one error.
func is(target error, words string) func(error) string {
	return func(err error) string {
		if errors.Is(err, target) {
			return words
		}
		return ""
	}
}

// late reports whether err says that a time limit has passed.
func late(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, epmd.ErrTimeout)
}

// ended tells whether the peer closed the connection.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// undefined tells whether the reason of a {badrpc, Reason} is the exception undef: {'EXIT', {undef,
// Stack}}.
func undefined(reason ei.Term) bool {
	exit, ok := reason.(ei.Tuple)
	if !ok || len(exit) != 2 || exit[0] != ei.Atom("EXIT") {
		return false
	}
	exception, ok := exit[1].(ei.Tuple)
	return ok && len(exception) == 2 && exception[0] == ei.Atom("undef")
}
