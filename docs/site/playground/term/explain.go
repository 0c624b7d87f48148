package term

import (
	"fmt"

	"github.com/cnode-go/cnode/ei"
)

// A Part is what some bytes of an encoded term mean. Depth is how many terms it is within.
type Part struct {
	At    int    `json:"at"`
	Len   int    `json:"len"`
	Depth int    `json:"depth"`
	Tag   string `json:"tag"`
	Text  string `json:"text"`
}

// maxParts are as many as somebody reads.
const maxParts = 2000

// Explain goes through an encoded term tag by tag. With an error it gives the parts before it.
func Explain(b []byte) (parts []Part, err error) {
	c := ei.NewCursor(b)
	add := func(at, depth int, tag, format string, args ...any) {
		parts = append(parts, Part{at, c.Offset() - at, depth, tag, fmt.Sprintf(format, args...)})
	}
	if err := c.Version(); err != nil {
		return nil, err
	}
	add(0, 0, "131", "the version: a term that stands alone begins with it")
	if rest := c.Rest(); len(rest) > 0 && (ei.Tag(rest[0]) == ei.TagCompressed || ei.Tag(rest[0]) == ei.TagLocalExt) {
		tag := ei.Tag(rest[0])
		return append(parts, Part{1, len(rest), 0, named(tag), "what follows is not for others to read, or compressed"}), nil
	}
	for open := []int{1}; len(open) > 0; { // how many terms are still to come at each depth
		depth := len(open) - 1
		if open[depth] == 0 {
			open = open[:depth]
			continue
		}
		if len(parts) == maxParts {
			return append(parts, Part{c.Offset(), c.Len(), 0, "…", "and more"}), nil
		}
		open[depth]--
		at := c.Offset()
		tag, err := c.Peek()
		if err != nil {
			return parts, err
		}
		n, inner := 0, 0
		switch {
		case tag.IsTuple():
			n, err = c.Tuple()
			inner = n
			add(at, depth, named(tag), "a tuple: %d elements follow", n)
		case tag == ei.TagListExt:
			n, err = c.List()
			inner = n + 1
			add(at, depth, named(tag), "a list: %d elements follow, then its tail", n)
		case tag == ei.TagMapExt:
			n, err = c.Map()
			inner = 2 * n
			add(at, depth, named(tag), "a map: %d pairs follow, the key before its value", n)
		default:
			var t ei.Term
			if t, err = c.Term(); err == nil {
				add(at, depth, named(tag), "%s", leaf(tag, string(ei.AppendText(nil, t))))
			}
		}
		if err != nil {
			return parts, err
		}
		open = append(open, inner)
	}
	return parts, nil
}

func named(tag ei.Tag) string { return fmt.Sprintf("%d %v", byte(tag), tag) }

// leaf says what follows the tag of a term without terms in it.
func leaf(tag ei.Tag, text string) string {
	switch {
	case tag == ei.TagNilExt:
		return "the empty list"
	case tag == ei.TagStringExt:
		return "a list of small integers: its length in 2 bytes, then " + text
	case tag.IsAtom():
		return "an atom: its length, then " + text
	case tag == ei.TagBinaryExt:
		return "a binary: its length in 4 bytes, then " + text
	case tag == ei.TagBitBinaryExt:
		return "a bitstring: its length in 4 bytes, the bits of the last byte, then " + text
	case tag == ei.TagSmallBigExt || tag == ei.TagLargeBigExt:
		return "an integer: how many bytes, the sign, then the lowest byte first: " + text
	case tag.IsInteger():
		return "an integer: " + text
	case tag == ei.TagNewFloatExt:
		return "a float: 8 bytes of IEEE 754: " + text
	case tag.IsFloat():
		return "a float, as text: " + text
	case tag.IsPid():
		return "a pid: the atom of its node, then id, serial and creation: " + text
	case tag.IsPort():
		return "a port: the atom of its node, then id and creation: " + text
	case tag.IsRef():
		return "a reference: the atom of its node, then creation and words: " + text
	case tag.IsFun() || tag == ei.TagExportExt:
		return "a function: " + text
	}
	return text
}
