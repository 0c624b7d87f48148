package ei

import (
	"strings"
	"unicode/utf8"
)

// Position gives the line and the column of the error in text, which must be the one that Parse was
// given. Both count from 1, columns in characters, as erl_scan does.
func (e *TextError) Position(text string) (line, column int) {
	before := text[:min(max(e.Offset, 0), len(text))]
	start := strings.LastIndexByte(before, '\n') + 1
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[start:])
}
