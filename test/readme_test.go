package test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadme compares the code in the README, and in the guides, with what the
// tests run: a block after "<!-- from FILE -->" is in FILE, line by line. The file is an example or
// a program of the tests, so what the documents show compiles, runs and does what they say.
func TestReadme(t *testing.T) {
	for _, name := range []string{"README.md", "docs/operating.md", "docs/from-libei.md", "docs/discovery.md", "docs/pubsub.md",
		"docs/backpressure.md", "docs/cookbook.md"} {
		text, err := os.ReadFile("../" + name)
		require.NoError(t, err)
		blocks := regexp.MustCompile("(?s)<!-- from (\\S+) -->\n```go\n(.*?)```").FindAllStringSubmatch(string(text), -1)
		require.GreaterOrEqual(t, len(blocks), 2, "%s shows programs", name)
		for _, b := range blocks {
			source, err := os.ReadFile("../" + b[1])
			require.NoError(t, err)
			require.Contains(t, squeeze(string(source)), squeeze(b[2]), "the block of %s in %s", b[1], name)
		}
		require.Len(t, blocks, strings.Count(string(text), "```go\n"), "every Go block of %s says which file it is from", name)
	}
}

// The first program that the README shows is short, and asks no value for its type.
func TestFirstNodeIsShort(t *testing.T) {
	source, err := os.ReadFile("../examples/first-node/main.go")
	require.NoError(t, err)
	_, program, ok := strings.Cut(squeeze(string(source)), "\npackage main\n")
	require.True(t, ok)
	require.LessOrEqual(t, 1+strings.Count(program, "\n"), 40)
	require.NotContains(t, program, ".(")
}

// squeeze removes indentation and empty lines.
func squeeze(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
