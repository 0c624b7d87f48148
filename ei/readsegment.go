package ei

import "cmp"

// maxSegmentBits is the largest size of a segment of a binary.
const maxSegmentBits = 1 << 16

// A segmentSpec is what follows the value of a segment of a binary.
type segmentSpec struct {
	size  int64             // -1: not given
	unit  int64             // 0: not given
	words map[string]string // "type", "order", "sign"
}

func (s *segmentSpec) kind() string { return cmp.Or(s.words["type"], "integer") }
func (s *segmentSpec) little() bool { return s.words["order"] == "little" }

// length gives the value's length in bits: usual if the segment has no size, else the size times
// its unit, for which unit is the default. A unit without a size is not ok.
func (s *segmentSpec) length(usual, unit int64) (bits int, ok bool) {
	switch {
	case s.size < 0:
		return int(usual), s.unit == 0
	default:
		// a size over the limit stays over it, and does not overflow
		return int(min(s.size, maxSegmentBits+1) * cmp.Or(s.unit, unit)), true
	}
}

// say adds a word. It is not known if it specifies nothing; against is what was said before that
// contradicts it.
func (s *segmentSpec) say(word string) (isKnown bool, against string) {
	what, says := meaning(word)
	if what == "" {
		return false, ""
	}
	if old := s.words[what]; old != "" && old != says {
		return true, old
	}
	if s.words == nil {
		s.words = map[string]string{}
	}
	s.words[what] = says
	return true, ""
}

// meaning gives what a word specifies ("type", "order" or "sign"), and what it says about that.
func meaning(word string) (what, says string) {
	switch word {
	case "integer", "float", "utf8", "utf16", "utf32":
		return "type", word
	case "binary", "bytes":
		return "type", "binary"
	case "bitstring", "bits":
		return "type", "bitstring"
	case "little", "big":
		return "order", word
	case "signed", "unsigned": // which makes no difference here
		return "sign", word
	}
	return "", ""
}
