package epmd

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/port"
)

func env(kv ...string) func(string) string {
	return func(key string) string {
		for i := 0; i < len(kv); i += 2 {
			if kv[i] == key {
				return kv[i+1]
			}
		}
		return ""
	}
}

// Port mappers always listen on the loopback address, and their clients go there, as erl, libei and
// epmd -names do, whatever else ERL_EPMD_ADDRESS names.
func TestAddressesFromTheEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name, port, address string
		client              string
		listen              []string
	}{
		{"nothing set", "", "", "127.0.0.1:4369", []string{"127.0.0.1:4369", "[::1]:4369"}},
		{"a port", "5000", "", "127.0.0.1:5000", []string{"127.0.0.1:5000", "[::1]:5000"}},
		{"an address", "", "10.0.0.1", "127.0.0.1:4369", []string{"127.0.0.1:4369", "[::1]:4369", "10.0.0.1:4369"}},
		{"a list", "1", "10.0.0.1, fe80::1,127.0.0.1 10.0.0.1", "127.0.0.1:1",
			[]string{"127.0.0.1:1", "[::1]:1", "10.0.0.1:1", "[fe80::1]:1"}},
		{"every address", "", "0.0.0.0,::", "127.0.0.1:4369", []string{"0.0.0.0:4369", "[::]:4369"}},
		{"every IPv6 address", "", "::", "127.0.0.1:4369", []string{"127.0.0.1:4369", "[::]:4369"}},
		{"another loopback address", "", "127.0.0.2", "127.0.0.1:4369", []string{"127.0.0.1:4369", "[::1]:4369", "127.0.0.2:4369"}},
		{"separators only", "", " , ", "127.0.0.1:4369", []string{"127.0.0.1:4369", "[::1]:4369"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			getenv := env("ERL_EPMD_PORT", tt.port, "ERL_EPMD_ADDRESS", tt.address)
			client, err := DefaultAddr(getenv)
			require.NoError(t, err)
			require.Equal(t, tt.client, client)
			listen, err := ListenAddrs(getenv)
			require.NoError(t, err)
			require.Equal(t, tt.listen, listen)
		})
	}
}

func TestNonsenseInTheEnvironment(t *testing.T) {
	for _, getenv := range []func(string) string{
		env("ERL_EPMD_PORT", "abc"), env("ERL_EPMD_PORT", "0"), env("ERL_EPMD_PORT", "65536"), env("ERL_EPMD_PORT",
			" 1"), env("ERL_EPMD_PORT", "-1"),
	} {
		_, err := DefaultAddr(getenv)
		require.ErrorContains(t, err, "ERL_EPMD_PORT")
		_, err = ListenAddrs(getenv)
		require.ErrorContains(t, err, "ERL_EPMD_PORT")
	}
	_, err := ListenAddrs(env("ERL_EPMD_ADDRESS", "127.0.0.1,localhost"))
	require.ErrorContains(t, err, `ERL_EPMD_ADDRESS contains "localhost"`)
}

func TestListenGivesAllAddressesOnePort(t *testing.T) {
	ls, err := Listen(t.Context(), "127.0.0.1:0", "[::1]:0")
	require.NoError(t, err)
	port := ls[0].Addr().(*net.TCPAddr).Port
	require.NotZero(t, port)
	for _, l := range ls {
		require.Equal(t, port, l.Addr().(*net.TCPAddr).Port)
		defer l.Close()
	}

	more, err := Listen(t.Context(), "127.0.0.1:0", ls[0].Addr().String())
	require.ErrorIs(t, err, syscall.EADDRINUSE, "another port mapper there must be told from other failures")
	require.Nil(t, more)
}

// What was opened before one address fails is closed: whoever tries again finds those addresses
// free.
func TestListenLeavesNothingOpen(t *testing.T) {
	vacant := port.Vacant(t)
	ls, err := Listen(t.Context(), vacant)
	require.NoError(t, err)
	require.NoError(t, ls[0].Close())
	_, err = Listen(t.Context(), vacant, vacant)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	ls, err = Listen(t.Context(), vacant)
	require.NoError(t, err)
	require.NoError(t, ls[0].Close())
}

func TestListenRefusesWhatIsNoAddress(t *testing.T) {
	_, err := Listen(t.Context(), "localhost:4369")
	require.ErrorContains(t, err, "localhost")
	_, err = Listen(t.Context(), "4369")
	require.ErrorContains(t, err, `"4369"`)
	_, err = Listen(t.Context())
	require.ErrorContains(t, err, "no address")
}
