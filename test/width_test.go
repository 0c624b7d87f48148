package test

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// A line of code has at most 140 columns and a comment 100; a table or an example in a comment,
// which go doc does not wrap, is as wide as code. A tab is one column.
const (
	codeColumns    = 140
	commentColumns = 100
)

func TestWidth(t *testing.T) {
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if isNoCode(d.Name()) {
				return fs.SkipDir
			}
			return nil // the modules of contrib, too
		}
		if filepath.Ext(file) != ".go" {
			return nil
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for number := 1; lines.Scan(); number++ {
			if isTooWide(lines.Text()) {
				t.Errorf("%s:%d is too wide: %s", file, number, lines.Text())
			}
		}
		return lines.Err()
	})
	require.NoError(t, err)
}

func TestWidthFinds(t *testing.T) {
	for line, wide := range map[string]bool{
		"":                                false,
		strings.Repeat("é", 140):          false,
		"\t" + strings.Repeat("x", 140):   true,
		"// " + strings.Repeat("x", 97):   false,
		"\t// " + strings.Repeat("x", 97): true,
		"//\t" + strings.Repeat("x", 137): false,
		"//\t" + strings.Repeat("x", 138): true,
	} {
		require.Equal(t, wide, isTooWide(line), line)
	}
}

func isTooWide(line string) bool {
	text := strings.TrimSpace(line)
	limit := codeColumns
	if strings.HasPrefix(text, "//") && !strings.HasPrefix(text, "//\t") {
		limit = commentColumns
	}
	return utf8.RuneCountInString(line) > limit
}
