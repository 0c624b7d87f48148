package groupleader

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
)

// maxDepth is how deep terms are printed: a peer's may be nested in any number.
const maxDepth = 10_000

// written is a term as ~w prints it, or with text as ~p does: lists and binaries of printable
// characters are text. depth is how deep, and how far, terms are shown, as for ~W and ~P; -1: all.
func written(t ei.Term, depth int, text bool) string {
	limited := depth >= 0
	if !limited {
		depth = maxDepth
	}
	return string((&writer{text: text, limited: limited}).append(nil, t, depth))
}

// A writer prints terms.
type writer struct{ text, limited bool }

func (w *writer) append(b []byte, t ei.Term, depth int) []byte {
	if depth == 0 {
		return append(b, "..."...)
	}
	switch v := t.(type) {
	case ei.String:
		return w.appendList(b, v.List(), nil, depth)
	case ei.List:
		return w.appendList(b, v, nil, depth)
	case ei.ImproperList:
		return w.appendList(b, v.Elems, v.Tail, depth)
	case ei.Tuple:
		return append(w.appendParts(append(b, '{'), v, ',', depth), '}')
	case ei.Map:
		return append(w.appendPairs(append(b, "#{"...), v, depth), '}')
	case ei.Binary:
		return w.appendBinary(b, v)
	}
	return ei.AppendText(b, t)
}

// appendPairs prints the pairs of a map; with a limit fewer, the further in the fewer.
func (w *writer) appendPairs(b []byte, pairs ei.Map, depth int) []byte {
	for i, p := range pairs {
		left := w.left(depth, i)
		if i > 0 {
			b = append(b, ',')
		}
		if left <= 0 {
			return append(b, "..."...)
		}
		b = w.append(b, p.Key, left)
		b = append(b, " => "...)
		b = w.append(b, p.Value, left)
	}
	return b
}

// left is the depth that is left for part i of a term.
func (w *writer) left(depth, i int) int {
	if w.limited {
		return depth - 1 - i
	}
	return depth - 1
}

// appendParts prints the elements of a tuple or a list, as appendPairs does.
func (w *writer) appendParts(b []byte, parts []ei.Term, mark byte, depth int) []byte {
	for i, part := range parts {
		left := w.left(depth, i)
		switch {
		case i > 0 && left <= 0:
			b = append(b, mark)
		case i > 0:
			b = append(b, ',')
		}
		if left <= 0 {
			return append(b, "..."...)
		}
		b = w.append(b, part, left)
	}
	return b
}

func (w *writer) appendList(b []byte, parts []ei.Term, tail ei.Term, depth int) []byte {
	if text, ok := printable(parts); w.text && ok && tail == nil {
		return quoted(b, text)
	}
	b = w.appendParts(append(b, '['), parts, '|', depth)
	if tail != nil {
		b = w.append(append(b, '|'), tail, depth-1)
	}
	return append(b, ']')
}

// printable is the text of a list of characters.
func printable(parts []ei.Term) (string, bool) {
	text, ok := ei.Charlist(ei.List(parts))
	return text, ok && text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !isText(r) })
}

func isText(r rune) bool {
	return r >= '\b' && r <= '\r' || r == '\x1b' || r >= ' ' && r < 0x7f || r >= 0xa0 && (r <= 0xff || unicode.IsPrint(r))
}

func (w *writer) appendBinary(b []byte, data []byte) []byte {
	b = append(b, "<<"...)
	if w.text && len(data) > 0 && utf8.Valid(data) {
		text, ascii := string(data), true
		for _, r := range text {
			if !isText(r) {
				text = ""
				break
			}
			ascii = ascii && r < 0x80
		}
		if text != "" {
			if b = quoted(b, text); !ascii {
				b = append(b, "/utf8"...)
			}
			return append(b, ">>"...)
		}
	}
	for i, x := range data {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(x), 10)
	}
	return append(b, ">>"...)
}

// quoted prints text in quotation marks.
func quoted(b []byte, text string) []byte {
	b = append(b, '"')
	for _, r := range text {
		if i := escapes[r]; i != 0 {
			b = append(b, '\\', i)
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

var escapes = map[rune]byte{
	'"': '"', '\\': '\\', '\n': 'n', '\r': 'r', '\t': 't', '\v': 'v', '\b': 'b', '\f': 'f', '\x1b': 'e',
}
