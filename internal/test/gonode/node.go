package gonode

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// Environment is that of a program with a node, without what the user has set for his own.
func Environment(t testing.TB, port int, more ...string) []string {
	return append(more, "HOME="+t.TempDir(), "PATH="+os.Getenv("PATH"), "TMPDIR="+sockdir.New(t), "GORACE=halt_on_error=1 atexit_sleep_ms=0",
		fmt.Sprintf("ERL_EPMD_PORT=%d", port), "ERL_EPMD_ADDRESS=127.0.0.1")
}

// Mapper finds nodes by the port mapper at a port of this machine.
func Mapper(port int) *nodes.PortMapper {
	return &nodes.PortMapper{Client: epmd.Client{Addr: fmt.Sprintf("127.0.0.1:%d", port)}}
}

// Config is that of a node beside those of package otp.
func Config(t testing.TB, name string, port int) nodes.Config {
	return nodes.Config{
		Name: name, Cookie: otp.DefaultCookie, Resolver: Mapper(port), HandshakeTimeout: otp.HandshakeTime, Logger: otp.Log(t, name),
	}
}

// Start starts a node of this process, which ends with the test.
func Start(t testing.TB, cfg nodes.Config) *nodes.Node {
	t.Helper()
	n, err := nodes.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	require.NoError(t, n.Start(expect.Context(t)))
	return n
}
