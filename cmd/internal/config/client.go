package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/dist"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// Dial makes a node that lives for one command only, and connects it to target. The node neither
// listens nor is published, and is hidden. end closes the node, and returns the error of the
// recording that --trace asks for, if any.
//
// The node has a full name rather than a dynamic one, since libei nodes, and OTP before 23, give
// none. As with erl_call the name contains the process number: no other process has that name now,
// and the numbers of later commands do not fill the peer's atom table with ever new names.
func (o *Options) Dial(ctx context.Context, v *Virtual, target string, errOut io.Writer) (
	n *nodes.Node, c *nodes.Conn, end func() error, err error,
) {
	name, err := o.FullName(fmt.Sprintf("%s-%d", o.Program, os.Getpid()), hostBeside(target, os.Hostname))
	if err != nil {
		return nil, nil, nil, err
	}
	cfg, err := o.clientConfig(name, target, errOut)
	if err != nil {
		return nil, nil, nil, err
	}
	cfg.HandshakeTimeout = handshakeTime(ctx)
	record, err := v.Over(&cfg)
	if err == nil {
		if err = record.Begin(); err != nil {
			_ = record.Finish()
		}
	}
	if err != nil {
		return nil, nil, nil, err
	}
	end = func() error {
		if n != nil {
			_ = n.Close() // everything has been sent and received
		}
		return record.Finish()
	}
	if n, err = nodes.New(cfg); err == nil {
		c, err = n.Connect(ctx, target)
	}
	if err != nil {
		return nil, nil, nil, errors.Join(err, end())
	}
	return n, c, end, nil
}

// handshakeTime is how long a handshake may take: as long as the whole command, if that is more
// than the default.
func handshakeTime(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return nodes.DefaultHandshakeTimeout
	}
	return max(time.Until(end), nodes.DefaultHandshakeTimeout)
}

// clientMapper gives the resolver that --epmd asks for, for a node that is not published. Its
// answer may take as long as the whole connection attempt.
func (o *Options) clientMapper() (nodes.Resolver, error) {
	client := epmd.Client{Timeout: -1}
	switch o.Epmd {
	case "auto":
		return &nodes.PortMapper{Client: client}, nil
	case "embedded":
		return nil, cli.Usagef("--epmd embedded is for serve: a new port mapper knows no other node")
	}
	client.Addr = o.Epmd
	return NewFixedMapper(client)
}

// A fixedMapper asks one port mapper for every node, whatever the node's host.
type fixedMapper struct{ nodes.PortMapper }

func NewFixedMapper(client epmd.Client) (*fixedMapper, error) {
	if err := CheckMapperAddr(client.Addr); err != nil {
		return nil, err
	}
	return &fixedMapper{nodes.PortMapper{Client: client}}, nil
}

// Resolve asks the port mapper for the port; the address is that of the node's host.
func (m *fixedMapper) Resolve(ctx context.Context, node string) (nodes.Endpoint, error) {
	alive, _, err := dist.SplitName(node)
	if err != nil {
		return nodes.Endpoint{}, err
	}
	info, err := m.Client.Resolve(ctx, "", alive)
	if err != nil {
		return nodes.Endpoint{}, err
	}
	at, err := nodes.FixedPort(info.Port).Resolve(ctx, node)
	version, _ := info.Version()
	at.Version5 = version == dist.Version5
	return at, err
}

// CheckMapperAddr refuses an --epmd that is no HOST:PORT.
func CheckMapperAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && (host == "" || port == "") {
		err = errors.New("a part is missing")
	}
	if err == nil {
		if _, perr := strconv.ParseUint(port, 10, 16); perr != nil {
			err = fmt.Errorf("port %q is not in 0..65535", port)
		}
	}
	if err != nil {
		return cli.Usagef("--epmd %q: want auto, embedded or HOST:PORT (%w)", addr, err)
	}
	return nil
}
