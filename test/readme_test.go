package test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadme holds the README's code to what the tests run: a block behind "<!-- from FILE -->" stands in FILE, line by line. The
// file is an example or a program of the tests, so what the README shows compiles, runs and does what it says.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)<!-- from (\\S+) -->\n```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	require.GreaterOrEqual(t, len(blocks), 2, "the README shows a first plug-in and a first node")
	for _, b := range blocks {
		source, err := os.ReadFile("../" + b[1])
		require.NoError(t, err)
		require.Contains(t, squeeze(string(source)), squeeze(b[2]), "the block of %s in README.md", b[1])
	}
	require.Len(t, blocks, strings.Count(string(readme), "```go\n"), "every Go block says which file it is from")
}

// squeeze takes away how lines are indented.
func squeeze(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
