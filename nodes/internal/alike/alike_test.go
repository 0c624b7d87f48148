package alike_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/alike"
)

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"quote", "quote", true},
		{"qoute", "quote", true},
		{"quot", "quote", true},
		{"quotes", "quote", true},
		{"GetPrice", "get_price", true},
		{"x", "y", false},
		{"quote", "refund", false},
		{"", "ab", false},
	} {
		require.Equal(t, tt.want, alike.Names(tt.a, tt.b), "%s %s", tt.a, tt.b)
	}
}
