package epmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cnode-go/cnode/transport"
)

// defaultPort is where port mappers listen unless ERL_EPMD_PORT says otherwise.
const defaultPort = 4369

// DefaultAddr gives the host:port of this machine's port mapper, for Client.Addr: 127.0.0.1, and
// ERL_EPMD_PORT, else 4369. getenv is os.Getenv or something like it. The error names the variable
// if it makes no sense.
//
// ERL_EPMD_ADDRESS, where port mappers listen, is not used, nor do OTP's own clients (erl, libei,
// epmd -names) use it: port mappers always listen on the loopback addresses, too.
func DefaultAddr(getenv func(string) string) (string, error) {
	port, err := environmentPort(getenv)
	if err != nil {
		return "", err
	}
	return netip.AddrPortFrom(loopback4(), port).String(), nil
}

// ListenAddrs gives the addresses, as host:port, on which the environment asks a port mapper to
// listen: both loopback addresses and those of ERL_EPMD_ADDRESS, which are separated by commas or
// blanks, without any that another of them includes. The port is ERL_EPMD_PORT, else 4369. The
// error names the variable that makes no sense.
//
// With ERL_EPMD_ADDRESS empty OTP's epmd listens on every address of the machine; this function
// gives only the loopback ones. ERL_EPMD_ADDRESS=0.0.0.0,:: asks for all.
func ListenAddrs(getenv func(string) string) ([]string, error) {
	port, err := environmentPort(getenv)
	if err != nil {
		return nil, err
	}
	all := []netip.Addr{loopback4(), netip.IPv6Loopback()}
	for _, f := range strings.FieldsFunc(getenv("ERL_EPMD_ADDRESS"), func(r rune) bool { return r == ',' || r == ' ' }) {
		a, err := netip.ParseAddr(f)
		if err != nil {
			return nil, fmt.Errorf("ERL_EPMD_ADDRESS contains %q, not an IP address", f)
		}
		all = append(all, a.Unmap())
	}
	var addrs []string
	for i, a := range all {
		unspecified := netip.IPv4Unspecified()
		if a.Is6() {
			unspecified = netip.IPv6Unspecified()
		}
		if slices.Contains(all[:i], a) || a != unspecified && slices.Contains(all, unspecified) {
			continue
		}
		addrs = append(addrs, netip.AddrPortFrom(a, port).String())
	}
	return addrs, nil
}

// Listen opens a TCP listener on each of addrs (IP:port, as ListenAddrs gives them) for a Server.
// An IPv6 address on a machine without IPv6 is left out, as long as one address remains. Port 0
// gets a free port, the same for all. If another port mapper already listens there the error is
// syscall.EADDRINUSE. It blocks only as long as binding takes.
func Listen(ctx context.Context, addrs ...string) (ls []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range ls {
				_ = l.Close() // the error that counts is the one returned
			}
			ls = nil
		}
	}()
	var skipped error
	var chosen uint16
	for _, s := range addrs {
		a, err := netip.ParseAddrPort(s)
		if err != nil {
			return ls, fmt.Errorf("epmd: listen %q: %w", s, err)
		}
		network := "tcp4"
		if a.Addr().Is6() {
			network = "tcp6" // without IPv4, which has a listener of its own
		}
		if a.Port() == 0 {
			a = netip.AddrPortFrom(a.Addr(), chosen)
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, network, a.String())
		if err != nil {
			err = fmt.Errorf("epmd: %w", transport.PosixError(err))
			if network == "tcp6" && (errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)) {
				skipped = err
				continue
			}
			return ls, err
		}
		ls = append(ls, l)
		if t, ok := l.Addr().(*net.TCPAddr); ok && chosen == 0 {
			chosen = uint16(t.Port)
		}
	}
	if len(ls) == 0 && skipped == nil {
		skipped = errors.New("epmd: listen: no address")
	}
	if len(ls) == 0 {
		return nil, skipped
	}
	return ls, nil
}

// environmentPort reads ERL_EPMD_PORT; an empty value counts as not set.
func environmentPort(getenv func(string) string) (uint16, error) {
	s := getenv("ERL_EPMD_PORT")
	if s == "" {
		return defaultPort, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("ERL_EPMD_PORT is %q, not a port in 1..65535", s)
	}
	return uint16(n), nil
}

func loopback4() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }
