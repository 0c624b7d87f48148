package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The sources of the site can be made of the repository as it is: each link leads somewhere, and
// each document is in the navigation.
func TestSources(t *testing.T) {
	s := &site{root: "../..", out: t.TempDir(), ref: "main"}
	require.NoError(t, s.sources())
	text, err := os.ReadFile(filepath.Join(s.out, "navigation.json"))
	require.NoError(t, err)
	var groups []group
	require.NoError(t, json.Unmarshal(text, &groups))
	var names []string
	for _, g := range groups {
		require.NotEmpty(t, g.Items, g.Text)
		names = append(names, g.Text)
	}
	require.Subset(t, names, []string{"Start", "How to", "Operate", "Reference", "Explanation", "Packages", "Project"})
	require.NotEmpty(t, s.diagrams)
	text, err = os.ReadFile(filepath.Join(s.out, "src", "api", "nodes.md"))
	require.NoError(t, err)
	for _, want := range []string{
		"### Server {#Server}", "#### Node.Start {#Node.Start}", `<a id="ErrMoved"></a>`,
		"<summary>Example</summary>", "](#Config)", "](./ei.md#Append)",
	} {
		require.True(t, strings.Contains(string(text), want), want) // the page is too long to be shown
	}
	require.FileExists(t, filepath.Join(s.out, "public", "docs", "bench.svg"))
	text, err = os.ReadFile(filepath.Join(s.out, "src", "README.md"))
	require.NoError(t, err)
	head, rest, ok := strings.Cut(strings.TrimPrefix(string(text), "---\n"), "\n---\n")
	require.True(t, ok, "the first page has a head")
	var first struct {
		Start struct{ Function, Call, Answer string }
	}
	require.NoError(t, json.Unmarshal([]byte(head), &first))
	require.Equal(t, "Shop.Pricing.total(:pricing, 1.5, 3)", first.Start.Call)
	require.Equal(t, "4.5", first.Start.Answer)
	require.Contains(t, first.Start.Function, " Total(price float64, qty int) float64 {\n\t")
	require.NotContains(t, rest, "# cnode\n")
}

// What a page becomes, as Markdown and for VitePress.
func TestPage(t *testing.T) {
	s := &site{root: t.TempDir(), out: t.TempDir(), ref: "v1", diagrams: map[string]string{}}
	for file, text := range map[string]string{
		"README.md": "# top", "docs/README.md": "# all", "docs/a/page.md": "# page", "nodes/doc.go": "// Package nodes is one.\npackage nodes\n",
		"nodes/node.go": "package nodes\n", "LICENSE": "free", "docs/x.svg": "<svg/>",
	} {
		file = filepath.Join(s.root, file)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
	require.NoError(t, s.findPages())
	require.NoError(t, s.findPackages())
	for text, want := range map[string]string{
		"[x](../README.md#all)":                       "[x](../index.md#all)",
		"[x](../../README.md)":                        "[x](../../index.md)",
		"[x](../../docs)":                             "[x](../index.md)",
		"[`x`](page.md) and `[x](page.md)`":           "[`x`](./page.md) and `[x](page.md)`",
		"[x](../../nodes/doc.go)":                     "[x](../../api/nodes.md)",
		"[x](../../nodes)":                            "[x](../../api/nodes.md)",
		"[x](../../nodes/node.go)":                    "[x](https://github.com/cnode-go/cnode/blob/v1/nodes/node.go)",
		"[x](../../LICENSE#a)":                        "[x](https://github.com/cnode-go/cnode/blob/v1/LICENSE#a)",
		"![x](../x.svg)":                              "![x](/docs/x.svg)",
		"[x](#here) [x](https://example.org/)":        "[x](#here) [x](https://example.org/)",
		"```go\n[x](../README.md)\n```\n":             "```go\n[x](../README.md)\n```\n",
		"- item\n  ```sh\n  [x](../README.md)\n  ```": "- item\n  ```sh\n  [x](../README.md)\n  ```",
	} {
		got, err := s.linked(&page{file: "docs/a/page.md", text: text})
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := s.linked(&page{file: "docs/a/page.md", text: "[x](none.md)"})
	require.ErrorContains(t, err, "docs/a/page.md: ")

	require.Equal(t, "a\n::: code-group\n\n```go [Go]\nx()\n```\n\n```elixir [Elixir]\nx\n```\n\n:::\n\nb\n\n```go\ny()\n```\n", s.decorated(
		"a\n<!-- tabs -->\n<!-- from x.go -->\n```go\nx()\n```\n\n```elixir\nx\n```\n\nb\n\n```go\ny()\n```\n"))
	require.Equal(t, "```go\nx()\n```\n```elixir\nx\n```\n", s.decorated("```go\nx()\n```\n```elixir\nx\n```\n"), "not marked")
	require.Contains(t, s.decorated("```mermaid\nflowchart LR\n```\n"), `<img class="dark" src="/diagrams/`)
	require.Len(t, s.diagrams, 1)
	require.Equal(t, "a\n\n<playground-nodes />\n", s.decorated("a\n\n<!-- playground: nodes -->\n"))

	_, err = s.navigation()
	require.ErrorContains(t, err, "docs/README.md has no link to docs/a/page.md")
	s.byFile["docs/README.md"].text = "# All\n\n## How to\n\n- See [it](a/page.md), and\n  [more](a/page.md#x).\n\n## Else\n\ntext\n"
	groups, err := s.navigation()
	require.NoError(t, err)
	require.Equal(t, group{Text: "How to", Items: []item{{"page", "/docs/a/page"}}}, groups[1])
	require.Equal(t, "Packages", groups[2].Text)
	require.Contains(t, s.llms(groups), "- [page](./docs/a/page.md)\n")
	require.Contains(t, s.llms(groups), "- [All](./docs/index.md)\n")
}
