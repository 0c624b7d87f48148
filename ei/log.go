package ei

import (
	"log/slog"
	"unicode/utf8"
)

// Handlers of package slog print what consists of bytes as bytes, and that of JSON a string as text, whatever the method String gives.

// maxLogged is how many bytes of a term's text go into a log.
const maxLogged = 1024

// LogValue gives package slog the text of the list, the beginning of a long one.
func (t String) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the binary, the beginning of a long one.
func (t Binary) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the term's length.
func (t Local) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the term that it holds, the beginning of a long one.
func (t Raw) LogValue() slog.Value { return logged(t) }

func logged(t Term) slog.Value {
	s := t.String()
	if len(s) > maxLogged {
		end := maxLogged
		for !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + "…"
	}
	return slog.StringValue(s)
}
