package pubsub

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What Erlang says: [erlang:phash2(T, 1 bsl 27) || T <- ...], and of shards.
func TestPhash2(t *testing.T) {
	for topic, want := range map[string]int{
		"":                        13708901,
		"a":                       112802447,
		"room:1":                  23597065,
		"elevenbytes":             40652766,
		"twelve bytes":            93359736,
		"thirteen byte":           33196846,
		"grüße":                   15367280,
		strings.Repeat("x", 1000): 40754910,
	} {
		require.Equal(t, want, phash2(topic, 1<<27), topic)
		require.Equal(t, want%8, phash2(topic, 8), topic)
		require.Zero(t, phash2(topic, 1))
	}
}
