package main

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/transport"
)

func TestPolicy(t *testing.T) {
	from := func(client string) *front.Session {
		return &front.Session{Remote: transport.FromAddrPort(netip.MustParseAddrPort(client))}
	}
	workers := []front.Worker{{Name: "a", Ready: true}, {Name: "office", Ready: true, Sessions: 5}}
	for client, want := range map[string]int{
		"192.0.2.7:1000": 1, "[::ffff:192.0.2.7]:1000": 1, "198.51.100.1:1000": 0, "[2001:db8::1]:1000": 0,
	} {
		require.Equal(t, want, policy(from(client), workers), client)
	}
	require.Equal(t, 0, policy(from("192.0.2.7:1000"), workers[:1]), "the office's worker is not there")
	require.Equal(t, 0, policy(&front.Session{Remote: transport.UnixAddr("")}, workers), "a client of a UNIX socket")
}
