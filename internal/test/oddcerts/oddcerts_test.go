package oddcerts

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAll(t *testing.T) {
	names := map[string]bool{}
	for _, o := range All(t) { // which checks that each is odd
		require.Contains(t, string(o.PEM()), "-----BEGIN CERTIFICATE-----\n")
		names[o.Name] = true
	}
	require.Len(t, names, 10)
}
