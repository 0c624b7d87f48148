package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAlsoRefusesBadAddresses(t *testing.T) {
	for _, flags := range [][]string{
		{"--also", "udp:127.0.0.1:1"}, {"--also", "127.0.0.1:1"}, {"--also", "tcp:here:1"}, {"--also", "tcp:unix:/x"}, {"--also", "tcp:"},
		{"--also", "tls:127.0.0.1:1"},                       // no certificate
		{"--also", "tcp:127.0.0.1:1", "--tls-optfile", "x"}, // no TLS
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"serve", "--name", "refused@127.0.0.1", "--cookie", "x"}, flags...), strings.NewReader(""), &out, &errOut)
		require.Equal(t, exitUsage, code, "%v: %s", flags, &errOut)
	}
}
