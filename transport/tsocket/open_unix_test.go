//go:build unix

package tsocket

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/internal/sys"
)

// Where a socket is to be found the empty path is refused, and the error says so.
func TestOpenUnixgramUnnamed(t *testing.T) {
	_, err := OpenUnixgram(nil, transport.UnixAddr(""))
	require.ErrorIs(t, err, syscall.EINVAL)
	require.ErrorContains(t, err, "an unnamed socket has no address")
}

// Package net's kinds of address can be used in place of those of package transport.
func TestOpenTakesNetAddrs(t *testing.T) {
	d := expect.Open(OpenUDP(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, nil)).In(t)
	ap := expect.NoError(transport.AddrPort(d.LocalAddr())).In(t)
	requireSends(t, d, "to myself", net.UDPAddrFromAddrPort(ap))
	requireReceives(t, d, "to myself", d.LocalAddr())
}

// An error names the address that it is about, beside or in place of the other one.
func TestOpenNamesTheAddress(t *testing.T) {
	dir := sockdir.New(t)
	at := func(name string) transport.Addr { return transport.UnixAddr(filepath.Join(dir, name)) }
	u := expect.Open(OpenUDP(loopback(), nil)).In(t)
	d := expect.Open(OpenUnixgram(at("d"), nil)).In(t)
	l := expect.Open(transport.ListenTCP(loopback(), 0)).In(t)
	for _, tt := range []struct {
		about transport.Addr
		open  func() (any, error)
	}{
		{u.LocalAddr(), func() (any, error) { return OpenUDP(u.LocalAddr(), nil) }},
		{u.LocalAddr(), func() (any, error) { return OpenUDP(u.LocalAddr(), l.Addr()) }},
		{d.LocalAddr(), func() (any, error) { return OpenUnixgram(d.LocalAddr(), nil) }},
		{d.LocalAddr(), func() (any, error) { return OpenUnixgram(d.LocalAddr(), at("nobody")) }},
		{at("nobody"), func() (any, error) { return OpenUnixgram(nil, at("nobody")) }},
		{at("nobody"), func() (any, error) { return OpenUnixgram(at("free"), at("nobody")) }},
	} {
		_, err := tt.open()
		require.Error(t, err)
		require.Equal(t, 1, strings.Count(err.Error(), tt.about.String()), "%v is about %v", err, tt.about)
	}
}

// Closing an abstract socket removes no file of that name.
func TestUnixgramAbstractHasNoFile(t *testing.T) {
	if !sys.AbstractNames {
		t.Skip("there are no abstract names here")
	}
	t.Chdir(t.TempDir())
	name := fmt.Sprintf("@tsocket-test-%d", os.Getpid())
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	d := expect.NoError(OpenUnixgram(transport.UnixAddr(name), nil)).In(t)
	require.NoError(t, d.Close())
	require.FileExists(t, name)
	require.Error(t, expect.Err(OpenUnixgram(transport.UnixAddr(name), transport.UnixAddr(name+"-nobody"))))
	require.FileExists(t, name)
}
