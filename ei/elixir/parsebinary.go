package elixir

import (
	"errors"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
)

// A bits is a binary that is being read: the same in Erlang, which package ei reads.
type bits struct {
	erlang []byte
	at     []place
}

// A place is where a segment begins, in Erlang and in Elixir.
type place struct{ erlang, elixir int }

// add appends a segment, which begins at start in Elixir.
func (w *bits) add(start int, t ei.Term, s *segment) {
	w.begin(start)
	w.erlang = ei.AppendText(w.erlang, t)
	if s.size >= 0 {
		w.erlang = strconv.AppendInt(append(w.erlang, ':'), int64(s.size), 10)
	}
	before := byte('/')
	for _, what := range []string{"type", "order", "sign"} {
		if word := s.words[what]; word != "" {
			w.erlang = append(append(w.erlang, before), word...)
			before = '-'
		}
	}
	if s.unit > 0 {
		w.erlang = append(append(w.erlang, before), "unit:"...)
		w.erlang = strconv.AppendInt(w.erlang, int64(s.unit), 10)
	}
}

func (w *bits) begin(start int) {
	if len(w.at) > 0 {
		w.erlang = append(w.erlang, ',')
	}
	w.at = append(w.at, place{len(w.erlang), start})
}

// term gives the binary. An error is about a segment.
func (w *bits) term() (ei.Term, error) {
	t, err := ei.Parse("<<" + string(w.erlang) + ">>")
	var wrong *ei.TextError
	if !errors.As(err, &wrong) || len(w.at) == 0 {
		return t, err
	}
	i, _ := slices.BinarySearchFunc(w.at, wrong.Offset-len("<<")+1, func(p place, offset int) int { return p.erlang - offset })
	return nil, &ei.TextError{Offset: w.at[max(i-1, 0)].elixir, Reason: wrong.Reason, Err: wrong.Err}
}

// binary reads <<1, 2::size(3), "text">>.
func (p *parser) binary() (ei.Term, error) {
	if err := p.expect("<<"); err != nil {
		return nil, err
	}
	var w bits
	for !p.accept(">>") {
		if err := p.segment(&w); err != nil {
			return nil, err
		}
		if !p.accept(",") {
			if err := p.expect(">>"); err != nil {
				return nil, err
			}
			break
		}
	}
	return w.term()
}

func (p *parser) segment(w *bits) error {
	p.space()
	start := p.pos
	switch x := p.peek(); {
	case x == '"':
		text, err := p.quotedText('"')
		if err != nil {
			return err
		}
		spec, err := p.spec()
		if err != nil {
			return err
		}
		return putText(w, start, text, &spec)
	case x == '<':
		return p.fail("a binary within a binary is not read")
	case x == '-', x == '+', x == '?', x >= '0' && x <= '9':
	default:
		return p.unexpected()
	}
	v, err := p.number()
	if err != nil {
		return err
	}
	spec, err := p.spec()
	if err != nil {
		return err
	}
	if isFloat(v) && spec.words["type"] == "" {
		spec.set("type", "float")
	}
	w.add(start, v, &spec)
	return nil
}

// putText appends a text: its bytes, or its characters in UTF-16 or UTF-32.
func putText(w *bits, start int, text []byte, s *segment) error {
	if s.size >= 0 || s.unit > 0 {
		return failAt(start, "a text has neither size nor unit")
	}
	switch s.words["type"] {
	case "", "binary", "bitstring", "utf8":
		for i, x := range text {
			if i == 0 {
				w.begin(start)
			} else {
				w.erlang = append(w.erlang, ',')
			}
			w.erlang = strconv.AppendUint(w.erlang, uint64(x), 10)
		}
		return nil
	case "utf16", "utf32":
		if !utf8.Valid(text) {
			return failAt(start, "not UTF-8")
		}
		for _, r := range string(text) {
			w.add(start, ei.Int(r), s)
		}
		return nil
	}
	return failAt(start, "a text that is to be a number")
}

// A segment is what follows the value of a segment: its size, unit and type.
type segment struct {
	size  ei.Int            // -1: not given
	unit  ei.Int            // 0: not given
	words map[string]string // "type", "order", "sign"
}

func (s *segment) set(what, says string) {
	if s.words == nil {
		s.words = map[string]string{}
	}
	s.words[what] = says
}

// segmentWord gives what a word specifies ("type", "order" or "sign"), and what it says about that.
func segmentWord(word string) (what, says string) {
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

// maxSegmentBits is the largest size of a segment, as for ei.Parse.
const maxSegmentBits = 1 << 16

// spec reads ::size(3)-integer and the like.
func (p *parser) spec() (segment, error) {
	spec := segment{size: -1}
	if !p.accept("::") {
		return spec, nil
	}
	for {
		p.space()
		start := p.pos
		word := p.s[start : start+aliasPart(p.s[start:])]
		what, says := segmentWord(word)
		switch {
		case word != "" && word[0] >= '0' && word[0] <= '9':
			size, err := p.small(maxSegmentBits)
			if err != nil {
				return spec, err
			}
			if spec.size >= 0 {
				return spec, failAt(start, "two sizes")
			}
			spec.size = size
		case word == "size" || word == "unit":
			p.pos += len(word)
			v, err := p.inParentheses()
			if err != nil {
				return spec, err
			}
			switch {
			case word == "size" && spec.size < 0:
				spec.size = v
			case word == "unit" && spec.unit == 0 && v >= 1 && v <= 256:
				spec.unit = v
			default:
				return spec, failAt(start, "bad "+word)
			}
		case what == "":
			return spec, p.unexpected()
		default:
			if old := spec.words[what]; old != "" && old != says {
				return spec, p.fail(word + " behind " + old)
			}
			spec.set(what, says)
			p.pos += len(word)
		}
		if !p.accept("-") {
			return spec, nil
		}
	}
}

// inParentheses reads (3).
func (p *parser) inParentheses() (ei.Int, error) {
	if err := p.expect("("); err != nil {
		return 0, err
	}
	v, err := p.small(maxSegmentBits)
	if err != nil {
		return 0, err
	}
	return v, p.expect(")")
}
