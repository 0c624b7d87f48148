package project

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// Types both ways, as the page prints them: no node runs while they are written.
func TestTypesBothWays(t *testing.T) {
	page, err := os.ReadFile("../../../docs/how-to/generate-types.md")
	require.NoError(t, err)
	_, chapter, _ := strings.Cut(string(page), "\n## Types both ways in a mix project\n")
	chapter, _, ok := strings.Cut(chapter, "\n## ")
	require.True(t, ok)
	pieces := regexp.MustCompile("(?ms)(?:^<!-- file (\\S+) -->\n)?^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(chapter, -1)
	require.Len(t, pieces, 5)
	otp.Elixirs(t, func(t *testing.T, found otp.Elixir) {
		e := &elixir{newDesk(t), found}
		asPrinted(t, e)
		require.NoError(t, os.Remove(e.dir+"/shop/lib/shop/pricing.ex"))
		question, answer, ok := strings.Cut(pieces[4][3], "\n")
		require.True(t, ok)
		for _, m := range pieces[:4] {
			switch file, language, text := m[1], m[2], m[3]; {
			case file != "":
				e.file("shop/"+file, text)
			case language == "sh":
				lines, _, runs := strings.Cut(text, "iex ")
				out := e.does("shop", lines)
				require.NotContains(t, out, "warning:")
				if !runs {
					continue
				}
				invoice, err := os.ReadFile(e.dir + "/shop/lib/shop/invoice.ex")
				require.NoError(t, err)
				require.NotContains(t, string(invoice), "defmodule Shop.Line")
				out = e.does("shop", replaced(t, text[len(lines):], "iex ",
					"echo 'IO.puts(\"answer: #{"+strings.ReplaceAll(strings.TrimPrefix(question, "iex> "), "'", `'\''`)+"}\")' | iex "))
				require.Contains(t, out, "answer: "+answer)
				require.NotContains(t, out, "warning:")
			}
		}
		again := e.does("shop", pieces[1][3]+"mix format --check-formatted lib/shop/invoice.ex")
		require.NotContains(t, again, "warning:")
	})
}
