package ei

// binary reads << segments >>.
func (p *textParser) binary() (Term, error) {
	if err := p.Expect("<<"); err != nil {
		return nil, err
	}
	var w bitWriter
	for more := !p.Accept(">>"); more; {
		if err := p.segment(&w); err != nil {
			return nil, err
		}
		if more = p.Accept(","); more {
			continue
		}
		if err := p.Expect(">>"); err != nil {
			return nil, err
		}
	}
	return w.term(), nil
}

// maxSegmentBits is the largest size of a segment: a binary is not much larger than its text.
const maxSegmentBits = 64

// segment reads adjacent strings, which may be UTF-8, or an integer, which may have a size.
func (p *textParser) segment(w *bitWriter) error {
	p.Space()
	start := p.Pos
	switch x := p.Peek(); {
	case x == '"':
		return p.textSegment(w)
	case x == '-', x == '+', x == '$', x >= '0' && x <= '9':
	default:
		return p.Unexpected()
	}
	v, err := p.number()
	if err != nil {
		return err
	}
	low, ok := lowBits(v)
	if !ok {
		return &TextError{Offset: start, Reason: "a float in a binary is not read", Err: ErrText}
	}
	size := Int(8)
	if p.Accept(":") {
		p.Space()
		if size, err = p.natural(); err != nil {
			return p.Bad("bad size")
		}
	}
	if size > maxSegmentBits {
		return &TextError{Offset: start, Err: &LimitError{Limit: "bits of a segment", Max: maxSegmentBits}}
	}
	w.bits(low, int(size))
	return nil
}

func (p *textParser) textSegment(w *bitWriter) error {
	var chars []rune
	for p.Accept(`"`) {
		p.Pos--
		if err := p.quoted('"', func(r rune) error { chars = append(chars, r); return nil }); err != nil {
			return err
		}
	}
	if p.Accept("/") {
		if err := p.Expect("utf8"); err != nil {
			return err
		}
		for _, x := range []byte(string(chars)) {
			w.bits(uint64(x), 8)
		}
		return nil
	}
	for _, r := range chars {
		w.bits(uint64(r), 8)
	}
	return nil
}

// lowBits gives the low 64 bits of an integer.
func lowBits(v Term) (low uint64, ok bool) {
	switch v := v.(type) {
	case Int:
		return uint64(v), true
	case BigInt:
		for i := min(len(v.mag), 8) - 1; i >= 0; i-- {
			low = low<<8 | uint64(v.mag[i])
		}
		if v.neg {
			low = -low
		}
		return low, true
	}
	return 0, false
}
