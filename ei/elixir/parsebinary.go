package elixir

import (
	"errors"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/ei/internal/scan"
)

// A bits is a binary that is being read: the same in Erlang, which package ei reads.
type bits struct {
	erlang []byte
	at     []place
}

// A place is where a segment begins, in Erlang and in Elixir.
type place struct{ erlang, elixir int }

// add appends a segment, which begins at start in Elixir.
func (w *bits) add(start int, t ei.Term, s *scan.Segment) {
	w.begin(start)
	w.erlang = ei.AppendText(w.erlang, t)
	if s.Size >= 0 {
		w.erlang = strconv.AppendInt(append(w.erlang, ':'), s.Size, 10)
	}
	before := byte('/')
	for _, what := range []string{"type", "order", "sign"} {
		if word := s.Words[what]; word != "" {
			w.erlang = append(append(w.erlang, before), word...)
			before = '-'
		}
	}
	if s.Unit > 0 {
		w.erlang = append(append(w.erlang, before), "unit:"...)
		w.erlang = strconv.AppendInt(w.erlang, s.Unit, 10)
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
	if err := p.Expect("<<"); err != nil {
		return nil, err
	}
	var w bits
	for !p.Accept(">>") {
		if err := p.segment(&w); err != nil {
			return nil, err
		}
		if !p.Accept(",") {
			if err := p.Expect(">>"); err != nil {
				return nil, err
			}
			break
		}
	}
	return w.term()
}

func (p *parser) segment(w *bits) error {
	p.Space()
	start := p.Pos
	switch x := p.Peek(); {
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
		return p.Bad("a binary within a binary is not read")
	case x == '-', x == '+', x == '?', x >= '0' && x <= '9':
	default:
		return p.Unexpected()
	}
	v, err := p.number()
	if err != nil {
		return err
	}
	spec, err := p.spec()
	if err != nil {
		return err
	}
	if isFloat(v) && spec.Words["type"] == "" {
		spec.Say("float")
	}
	w.add(start, v, &spec)
	return nil
}

// putText appends a text: its bytes, or its characters in UTF-16 or UTF-32.
func putText(w *bits, start int, text []byte, s *scan.Segment) error {
	if s.Size >= 0 || s.Unit > 0 {
		return failAt(start, "a text has neither size nor unit")
	}
	switch s.Words["type"] {
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

// spec reads ::size(3)-integer and the like.
func (p *parser) spec() (scan.Segment, error) {
	spec := scan.Segment{Size: -1}
	if !p.Accept("::") {
		return spec, nil
	}
	for {
		p.Space()
		start := p.Pos
		word := p.S[start : start+aliasPart(p.S[start:])]
		isKnown, against := spec.Say(word)
		switch {
		case word != "" && word[0] >= '0' && word[0] <= '9':
			size, err := p.small(scan.MaxSegmentBits)
			if err != nil {
				return spec, err
			}
			if spec.Size >= 0 {
				return spec, failAt(start, "two sizes")
			}
			spec.Size = int64(size)
		case word == "size" || word == "unit":
			p.Pos += len(word)
			v, err := p.inParentheses()
			if err != nil {
				return spec, err
			}
			switch {
			case word == "size" && spec.Size < 0:
				spec.Size = int64(v)
			case word == "unit" && spec.Unit == 0 && v >= 1 && v <= 256:
				spec.Unit = int64(v)
			default:
				return spec, failAt(start, "bad "+word)
			}
		case !isKnown:
			return spec, p.Unexpected()
		case against != "":
			return spec, p.Bad(word + " behind " + against)
		default:
			p.Pos += len(word)
		}
		if !p.Accept("-") {
			return spec, nil
		}
	}
}

// inParentheses reads (3).
func (p *parser) inParentheses() (ei.Int, error) {
	if err := p.Expect("("); err != nil {
		return 0, err
	}
	v, err := p.small(scan.MaxSegmentBits)
	if err != nil {
		return 0, err
	}
	return v, p.Expect(")")
}
