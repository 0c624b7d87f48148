package advice

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each section that an advice names is on the page.
func TestAdvicePage(t *testing.T) {
	text, err := os.ReadFile("../../../" + page)
	require.NoError(t, err)
	noSlug := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ +(.*?)\s*$`).FindAllStringSubmatch(string(text), -1) {
		anchors[strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	for _, k := range kinds {
		require.True(t, k.Section == "" || anchors[k.Section], "%s has no section %q", page, k.Section)
	}
}
