package ei

import (
	"log/slog"
	"unicode/utf8"
)

// Handlers of package slog print what consists of bytes as bytes, and that of JSON a string as text, whatever the method String gives.

const (
	maxLogged    = 1024     // bytes of a term's text that go into a log
	maxLoggedRaw = 64 << 10 // bytes of an encoded term whose text does
)

// LogValue gives package slog the text of the list, the beginning of a long one.
func (t String) LogValue() slog.Value { return logged(t[:min(len(t), maxLogged)]) }

// LogValue gives package slog the text of the binary, the beginning of a long one.
func (t Binary) LogValue() slog.Value {
	if len(t) > maxLogged {
		end := maxLogged
		for end > maxLogged-utf8.UTFMax && !utf8.RuneStart(t[end]) {
			end--
		}
		t = t[:end]
	}
	return logged(t)
}

// LogValue gives package slog the term's length.
func (t Local) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the term that it holds, the beginning of a long one; of a term of more than 64 KiB its length.
func (t Raw) LogValue() slog.Value {
	if len(t) > maxLoggedRaw {
		return slog.StringValue(string(appendOpaque(nil, "#Raw<", len(t))))
	}
	return logged(t)
}

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
