package metrics

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestClip(t *testing.T) {
	atom := strings.Repeat("\U0001f600", 255) // the longest
	for text, want := range map[string]string{
		"": "", "shop": "shop", `"q"\`: `"q"\`, "ü\n\t": "ü\n\t", "a\x00b\x1b\x7f\u0085": "a�b���", "\xff\xfea": "��a",
		atom:                        atom,
		strings.Repeat("x", 1024):   strings.Repeat("x", 1024),
		strings.Repeat("x", 5<<20):  strings.Repeat("x", 1021) + "…",
		strings.Repeat("ü", 600):    strings.Repeat("ü", 510) + "…",
		strings.Repeat("\xff", 600): strings.Repeat("�", 340) + "…",
	} {
		require.Equal(t, want, Clip(text))
	}
}

func TestClipAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOfN(rapid.Byte(), 0, 3*mostText).Draw(t, "bytes"))
		clipped := Clip(s)
		require.True(t, utf8.ValidString(clipped))
		require.LessOrEqual(t, len(clipped), mostText)
		require.Equal(t, clipped, Clip(clipped))
		require.NotContains(t, clipped, "\x00")
	})
}
