package ei

import "unicode/utf8"

// binary reads <<1, 2::size(3), "text">>.
func (p *elixirParser) binary() (Term, error) {
	if err := p.expect("<<"); err != nil {
		return nil, err
	}
	var w bitWriter
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
	return w.term(), nil
}

func (p *elixirParser) segment(w *bitWriter) error {
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
		return p.putText(w, start, text, spec)
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
	if err := spec.check(start); err != nil {
		return err
	}
	return p.put(w, start, v, spec)
}

// putText appends a text: its bytes, or its characters in UTF-16 or UTF-32.
func (p *elixirParser) putText(w *bitWriter, start int, text []byte, spec segmentSpec) error {
	if spec.size >= 0 || spec.unit > 0 {
		return badSegment(start, "a text has neither size nor unit")
	}
	switch spec.words["type"] {
	case "", "binary", "bitstring", "utf8":
		w.bytes(text, 8*len(text))
		return nil
	case "utf16", "utf32":
		if !utf8.Valid(text) {
			return badSegment(start, "not UTF-8")
		}
		for _, r := range string(text) {
			if err := p.put(w, start, Int(r), spec); err != nil {
				return err
			}
		}
		return nil
	}
	return badSegment(start, "a text that is to be a number")
}

// spec reads ::size(3)-integer and the like.
func (p *elixirParser) spec() (segmentSpec, error) {
	spec := segmentSpec{size: -1}
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
				return spec, badSegment(start, "two sizes")
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
				return spec, badSegment(start, "bad "+word)
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
func (p *elixirParser) inParentheses() (Int, error) {
	if err := p.expect("("); err != nil {
		return 0, err
	}
	v, err := p.small(maxSegmentBits)
	if err != nil {
		return 0, err
	}
	return v, p.expect(")")
}
