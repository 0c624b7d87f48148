package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

// A session is a connection to the node to call, from a hidden node of our own.
type session struct {
	n   *nodes.Node
	c   *nodes.Conn
	out io.Writer // for what called functions print
}

// The group leaders that rex knows: what a called function prints appears at its own node, or is
// sent to the caller.
const (
	leaderUser   = ei.Atom("user")
	leaderCaller = ei.Atom("send_stdout_to_caller")
)

// connect connects to the node that the options name; with -s, it starts the node where that fails.
func (o *options) connect(ctx context.Context, out, errOut io.Writer) (*session, error) {
	host, err := o.ownHost(ctx)
	if err != nil {
		return nil, err
	}
	cfg := nodes.Config{Cookie: o.cookie, Host: host, Alive: o.ownAlive(), Flags: dist.FlagsLibei, Resolver: new(portMapper)}
	if o.optFile != "" {
		log := slog.New(slog.DiscardHandler)
		if o.verbose {
			log = slog.New(slog.NewTextHandler(errOut, nil))
		}
		if cfg.Transport, err = tlstransport.FromOptFile(o.optFile, &tlstransport.Options{Logger: log}); err != nil {
			return nil, err
		}
	}
	n, err := nodes.New(cfg)
	if err != nil {
		return nil, err
	}
	s := &session{n: n, out: out}
	if o.port != 0 {
		s.c, err = o.connectAddress(ctx, n, host)
	} else {
		s.c, err = o.connectName(ctx, n, o.target(ctx, host), errOut)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	o.sayf(errOut, "connected to %s as %s", s.c.Name(), n.Name())
	return s, nil
}

// ownAlive is the name of our own node before the "@"; empty has the node that is called give one.
func (o *options) ownAlive() string {
	switch {
	case o.hidden != "":
		return o.hidden
	case o.dynamic:
		return ""
	// of a thousand: each name stays in the atom table of the node for as long as that runs
	case o.random:
		return fmt.Sprintf("c%d", rand.IntN(997))
	}
	return "c17"
}

func (o *options) connectAddress(ctx context.Context, n *nodes.Node, ownHost string) (*nodes.Conn, error) {
	host := o.host
	if host == "" {
		host = ownHost
	}
	ip, err := addressOf(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("-address: %w", err)
	}
	return n.ConnectAddr(ctx, transport.FromAddrPort(netip.AddrPortFrom(ip, o.port)), "")
}

func (o *options) connectName(ctx context.Context, n *nodes.Node, target string, errOut io.Writer) (*nodes.Conn, error) {
	c, err := o.reach(ctx, n, target)
	if err == nil || !o.start || o.halt || ctx.Err() != nil {
		return c, err
	}
	o.sayf(errOut, "%v; starting it", err)
	if err := o.startNode(ctx, target, errOut); err != nil {
		return nil, fmt.Errorf("start %s: %w", target, err)
	}
	return o.reach(ctx, n, target)
}

// reach connects to the node of that name; like erl_call, also if its host goes by another name
// there, as 127.0.0.1 for localhost. Over TLS it does not, since the certificate is to be for the
// name.
func (o *options) reach(ctx context.Context, n *nodes.Node, target string) (*nodes.Conn, error) {
	c, err := n.Connect(ctx, target)
	if !errors.Is(err, dist.ErrWrongPeer) || o.optFile != "" {
		return c, err
	}
	at, resolveErr := new(portMapper).Resolve(ctx, target)
	if resolveErr != nil {
		return nil, err
	}
	return n.ConnectAddr(ctx, at.Addr, "")
}

func (s *session) close() { _ = s.n.Close() }

// call is what ei_rpc does: a request to rex, whose answer is awaited. What the function prints
// arrives before it, with leaderCaller.
func (s *session) call(ctx context.Context, module, function string, args ei.Term, leader ei.Atom) (ei.Term, error) {
	if args == nil {
		args = ei.List{}
	}
	request := ei.Tuple{ei.Atom("call"), ei.Atom(module), ei.Atom(function), args, leader}
	if err := s.c.SendName(ctx, "rex", ei.Tuple{s.c.Self(), request}); err != nil {
		return nil, err
	}
	for {
		m, err := s.c.Receive(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s:%s at %s: %w", module, function, s.c.Name(), err)
		}
		t, err := m.Term()
		answer, ok := t.(ei.Tuple)
		if err != nil || !ok || len(answer) != 2 {
			continue // from somebody else
		}
		switch answer[0] {
		case ei.Atom("rex"):
			return answer[1], nil
		case ei.Atom("rex_stdout"):
			if text, ok := answer[1].(ei.Binary); ok {
				_, _ = s.out.Write(text)
			}
		}
	}
}

// portMapper finds nodes as nodes.PortMapper does, and those of this machine also where its name
// has no address, as in a bare container.
type portMapper struct{ nodes.PortMapper }

func (p *portMapper) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	at, err := p.PortMapper.Resolve(ctx, node)
	alive, host, _ := strings.Cut(node, "@")
	if !errors.Is(err, nodes.ErrUnknownHost) || !isOwn(host) {
		return at, err
	}
	info, err := p.Client.Resolve(ctx, loopback.String(), alive)
	if err != nil {
		return nodes.Endpoint{}, err
	}
	return nodes.Endpoint{Addr: transport.FromAddrPort(netip.AddrPortFrom(loopback, info.Port))}, nil
}
