package test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadme compares the code in the documents with what the tests run: a block after
// "<!-- from FILE -->" is in FILE, line by line. The file is an example or a program of the tests,
// so what the documents show compiles, runs and does what they say.
func TestReadme(t *testing.T) {
	count := 0
	for _, name := range documents(t) {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		blocks := regexp.MustCompile("(?s)<!-- from (\\S+) -->\n```\\w*\n(.*?)```").FindAllStringSubmatch(string(text), -1)
		require.Len(t, blocks, strings.Count(string(text), "<!-- from "), "each file that %s names has a block", name)
		for _, b := range blocks {
			source, err := os.ReadFile("../" + b[1])
			require.NoError(t, err, name)
			require.Contains(t, squeeze(string(source)), squeeze(b[2]), "the block of %s in %s", b[1], name)
		}
		count += len(blocks)
	}
	require.Greater(t, count, 20)
}

// The Go code of these pages is complete programs, or parts of them: each block says which file.
func TestBlocksSayWhereFrom(t *testing.T) {
	for _, name := range []string{"README.md", "docs/how-to/genstage.md", "docs/how-to/move-from-libei.md",
		"docs/how-to/find-nodes.md", "docs/how-to/pubsub.md", "docs/how-to/slow-receivers.md", "docs/how-to/recipes.md"} {
		text, err := os.ReadFile("../" + name)
		require.NoError(t, err)
		require.GreaterOrEqual(t, strings.Count(string(text), "<!-- from "), 2, "%s shows programs", name)
		require.Equal(t, strings.Count(string(text), "```go\n"), strings.Count(string(text), "-->\n```go\n"), name)
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

// The README's Elixir project is the one of its page, which test/interop/project makes.
func TestReadmeHasTheProject(t *testing.T) {
	blocks := func(page, title string) []string {
		text, err := os.ReadFile("../" + page)
		require.NoError(t, err)
		_, chapter, ok := strings.Cut(string(text), "\n## "+title+"\n")
		require.True(t, ok, title)
		chapter, _, _ = strings.Cut(chapter, "\n## ")
		return fence.FindAllString(chapter, -1)
	}
	here := blocks("README.md", "Go in your Elixir project")
	require.Equal(t, blocks("docs/how-to/elixir-project.md", "From mix new to a typed call"), here)
	require.Len(t, here, 6)
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
