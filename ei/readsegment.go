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

// spec reads :Size/Type-Type.
func (p *textParser) spec() (segmentSpec, error) {
	spec := segmentSpec{size: -1}
	if p.Accept(":") {
		p.Space()
		size, err := p.natural()
		if err != nil {
			return spec, p.Bad("bad size")
		}
		spec.size = int64(size)
	}
	if !p.Accept("/") {
		return spec, nil
	}
	for {
		p.Space()
		start := p.Pos
		word := p.word()
		switch isKnown, against := spec.say(word); {
		case against != "":
			p.Pos = start
			return spec, p.Bad(word + " behind " + against)
		case isKnown:
		case word == "unit":
			if err := p.Expect(":"); err != nil {
				return spec, err
			}
			p.Space()
			unit, err := p.natural()
			if err != nil || unit < 1 || unit > 256 {
				return spec, p.Bad("unit not in 1 to 256")
			}
			if spec.unit != 0 && spec.unit != int64(unit) {
				return spec, p.Bad("two units")
			}
			spec.unit = int64(unit)
		default:
			p.Pos = start
			return spec, p.Unexpected()
		}
		if !p.Accept("-") {
			return spec, nil
		}
	}
}

func badSegment(start int, reason string) error {
	return &TextError{Offset: start, Reason: reason, Err: ErrText}
}

// check refuses what may not be specified for a segment, at start, that is a number or a text.
func (s *segmentSpec) check(start int) error {
	bad := func(reason string) error { return badSegment(start, reason) }
	switch s.kind() {
	case "utf8", "utf16", "utf32":
		if s.size >= 0 || s.unit > 0 {
			return bad("a Unicode character has neither size nor unit")
		}
	case "float":
		size, ok := s.length(64, 1)
		if !ok {
			return bad("a unit without a size")
		}
		if size != 64 && size != 32 {
			return bad("a float of neither 32 nor 64 bits")
		}
	case "binary", "bitstring":
		return bad("not a binary")
	default:
		size, ok := s.length(8, 1)
		switch {
		case !ok:
			return bad("a unit without a size")
		case size > maxSegmentBits:
			limit := &LimitError{Limit: "bits of a segment", Max: maxSegmentBits}
			return &TextError{Offset: start, Err: limit}
		case s.little() && size%8 != 0:
			return bad("little-endian in part of a byte")
		}
	}
	return nil
}
