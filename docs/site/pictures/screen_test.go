package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestScreen(t *testing.T) {
	for printed, want := range map[string]string{
		"one\r\ntwo":                        "one|two|",
		"1\r\n2\r\n3\r\n4":                  "2|3|4",
		"123456789":                         "123456|789|",
		"123456\r\n7":                       "123456|7|",
		"x\x1b[?1049h\x1b[H\x1b[2;3Hab":     "|  ab|",
		"abcdef\r\x1b[2C\x1b[2X":            "ab  ef||",
		"abcdef\r\x1b[P":                    "bcdef||",
		"abcdef\r\x1b[2@":                   "  abcd||",
		"abcdef\x1b[3D\x1b[K":               "ab||",
		"abcdef\x1b[4G\x1b[1K":              "    ef||",
		"a\x1b[3b\x1b[2d\x1b[1Gb":           "aaaa|b|",
		"1\r\n2\r\n3\x1b[H\x1b[L":           "|1|2",
		"1\r\n2\r\n3\x1b[H\x1b[M":           "2|3|",
		"1\r\n2\r\n3\x1b[1;2r\x1b[S\x1b[r":  "2||3",
		"1\r\n2\x1b[H\x1bM":                 "|1|2",
		"1\r\n2\x1b[H\x1b[J":                "||",
		"\x1b]0;title\a\x1bP+q\x1b\\ä\b\bö": "ö||",
		"a\tb":                              "a    b||",
	} {
		s := newScreen(6, 3)
		require.NoError(t, s.print(printed), "%q", printed)
		var rows []string
		for _, row := range s.rows {
			rows = append(rows, strings.TrimRight(text(row), " "))
		}
		require.Equal(t, want, strings.Join(rows, "|"), "%q", printed)
	}
	for _, printed := range []string{"\x1b", "\x1b[", "\x1b[1y", "\x1b[3J", "\x1b[48;5;1m", "\x1bZ", "\x1b[?1049l", "\x01"} {
		require.Error(t, newScreen(6, 3).print(printed), "%q", printed)
	}
}

func TestDraw(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "a.cast"), filepath.Join(t.TempDir(), "a.svg")
	require.NoError(t, os.WriteFile(from, []byte(`{"version":2,"width":40,"height":9,"title":"a & b"}
[0,"o","\u001b[1;31mred\u001b[0m <plain>     far\r\n\u001b[7mturned\u001b[m"]
`), 0o600))
	require.NoError(t, draw(from, to))
	svg, err := os.ReadFile(to)
	require.NoError(t, err)
	for _, want := range []string{"<title>a &amp; b, in a terminal</title>", `fill="#ff7b72" font-weight="bold">red</text>`,
		`>&lt;plain&gt;</text>`, `<text x="150.4" y="66" textLength="25.2">far</text>`, `fill="#0d1117">turned</text>`, `height="106"`} {
		require.Contains(t, string(svg), want)
	}
	require.NoError(t, os.WriteFile(from, []byte(`{"version":1}`), 0o600))
	require.Error(t, draw(from, to))
}
