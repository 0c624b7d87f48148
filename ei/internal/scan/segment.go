package scan

// MaxSegmentBits is the largest size of a segment of a binary.
const MaxSegmentBits = 1 << 16

// A Segment is what follows the value of a segment of a binary: its size, unit and type.
type Segment struct {
	Size  int64             // -1: not given
	Unit  int64             // 0: not given
	Words map[string]string // "type", "order", "sign"
}

// Say adds a word. It is not known if it specifies nothing; against is what was said before that
// contradicts it.
func (s *Segment) Say(word string) (isKnown bool, against string) {
	what, says := meaning(word)
	if what == "" {
		return false, ""
	}
	if old := s.Words[what]; old != "" && old != says {
		return true, old
	}
	if s.Words == nil {
		s.Words = map[string]string{}
	}
	s.Words[what] = says
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
