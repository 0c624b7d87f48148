package elixir

import (
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// maxSegmentBits is the largest size of a segment.
const maxSegmentBits = 64

// binary reads <<1, 2::size(3), "text">>: the same in Erlang, which package ei reads.
func (p *parser) binary() (ei.Term, error) {
	start := p.Pos
	if err := p.Expect("<<"); err != nil {
		return nil, err
	}
	var erlang []string // the segments
	for !p.Accept(">>") {
		var err error
		if erlang, err = p.segment(erlang); err != nil {
			return nil, err
		}
		if !p.Accept(",") {
			if err := p.Expect(">>"); err != nil {
				return nil, err
			}
			break
		}
	}
	return asErlang("<<"+strings.Join(erlang, ",")+">>", start)
}

// segment reads a text, or an integer, which may have a size.
func (p *parser) segment(erlang []string) ([]string, error) {
	p.Space()
	start := p.Pos
	switch x := p.Peek(); {
	case x == '"':
		text, err := p.quotedText('"')
		for _, x := range text {
			erlang = append(erlang, strconv.Itoa(int(x)))
		}
		return erlang, err
	case x == '<':
		return nil, p.Bad("a binary within a binary is not read")
	case x == '-', x == '+', x == '?', x >= '0' && x <= '9':
	default:
		return nil, p.Unexpected()
	}
	v, err := p.number()
	if err != nil {
		return nil, err
	}
	if isFloat(v) {
		return nil, failAt(start, "a float in a binary is not read")
	}
	text := ei.AppendText(nil, v)
	if p.Accept("::") {
		inParentheses := p.Accept("size")
		if inParentheses {
			err = p.Expect("(")
		}
		var size ei.Int
		if err == nil {
			size, err = p.small(maxSegmentBits)
		}
		if inParentheses && err == nil {
			err = p.Expect(")")
		}
		text = strconv.AppendInt(append(text, ':'), int64(size), 10)
	}
	return append(erlang, string(text)), err
}
