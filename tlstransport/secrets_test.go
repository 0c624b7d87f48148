package tlstransport

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A secret is used only if the key log has had its label exactly once, in a line that can be read.
func TestKeyLogTakesOneLine(t *testing.T) {
	for _, tt := range []struct{ lines, err string }{
		{labelClient + " 01 02", ""},
		{labelClient + " 01 02\n" + labelServer + " 03 04\nSOMETHING_ELSE 05 06", ""},
		{"", "CLIENT_TRAFFIC_SECRET_0 0 times"},
		{labelServer + " 01 02", "CLIENT_TRAFFIC_SECRET_0 0 times"},
		{labelClient + " 01", "CLIENT_TRAFFIC_SECRET_0 0 times"},
		{labelClient + " 01 02\n" + labelClient + " 01 02", "CLIENT_TRAFFIC_SECRET_0 2 times"},
		{labelClient + " 0x 02", "CLIENT_TRAFFIC_SECRET_0"},
		{labelClient + " 01 0x", "CLIENT_TRAFFIC_SECRET_0"},
	} {
		k := keyLog{lines: map[string]logged{}}
		for line := range strings.Lines(tt.lines) {
			n := expect.NoError(k.Write([]byte(line))).In(t)
			require.Len(t, line, n)
		}
		l, err := k.take(labelClient)
		if tt.err != "" {
			require.ErrorContains(t, err, tt.err, tt.lines)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, logged{random: []byte{1}, secret: []byte{2}, times: 1}, l)
	}
}
