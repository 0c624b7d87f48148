package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each section that an advice names is on the page, and belongs to an advice.
func TestAdvicePage(t *testing.T) {
	text, err := os.ReadFile("../../" + troubleshooting)
	require.NoError(t, err)
	noSlug := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ +(.*?)\s*$`).FindAllStringSubmatch(string(text), -1) {
		anchors[strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	kinds := map[string]bool{}
	for _, a := range advices {
		kinds[a.kind] = true
	}
	for kind, section := range sections {
		require.True(t, anchors[section], "%s has no section %q", troubleshooting, section)
		require.True(t, kinds[kind], "no advice is called %q", kind)
	}
}
