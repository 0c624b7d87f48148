package metrics

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// mostText is how long a text that Clip returns is at most, in bytes. Every atom is shorter.
const mostText = 1 << 10

// Clip makes any text one that every backend of metrics and traces takes: UTF-8, without control
// characters other than the end of a line and the tab, of 1,024 bytes at most. What is not fit is
// U+FFFD in its place, and a text that is too long ends with three dots (U+2026). Names in the
// records that Hooks get, and in nodes.Stats, are so already. Texts of errors are not, and peers
// may have written them.
func Clip(s string) string {
	if len(s) <= mostText && utf8.ValidString(s) && strings.IndexFunc(s, isUnfit) < 0 {
		return s
	}
	const more = "…"
	var b strings.Builder // a copy: a long text is not kept for its beginning
	for _, r := range s { // what is not UTF-8 comes as U+FFFD
		if isUnfit(r) {
			r = utf8.RuneError
		}
		if b.Len()+utf8.RuneLen(r) > mostText-len(more) {
			b.WriteString(more)
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// isUnfit tells whether a character is one that Clip replaces. Prometheus takes a NUL for the end
// of a scrape.
func isUnfit(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
