package ei

import (
	"strings"

	"github.com/cnode-go/cnode/ei/internal/scan"
)

// hash reads what starts with #: an identifier, or the beginning of a map or a native record.
func (p *textParser) hash(in *textLevel) (Term, error) {
	p.Pos++
	switch {
	case p.Accept("{"):
		start := p.Pos
		if p.Accept("}") {
			return emptyMap, nil
		}
		*in = textLevel{Kind: scan.Map, N: start}
		return nil, nil
	case strings.HasPrefix(p.S[p.Pos:], "Pid<"):
		p.Pos += len("Pid<")
		return p.pid()
	case strings.HasPrefix(p.S[p.Pos:], "Port<"):
		p.Pos += len("Port<")
		return p.port()
	case strings.HasPrefix(p.S[p.Pos:], "Ref<"):
		p.Pos += len("Ref<")
		return p.ref()
	}
	return p.recordHead(in)
}

// recordHead reads module:name{, and the end if there are no fields.
func (p *textParser) recordHead(in *textLevel) (Term, error) {
	head := textLevel{Kind: scan.Record, N: p.Pos}
	module, err := p.name()
	if err != nil {
		return nil, err
	}
	if err := p.Expect(":"); err != nil {
		return nil, err
	}
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	if err := p.Expect("{"); err != nil {
		return nil, err
	}
	head.Parts = append(head.Parts, module, name)
	if p.Accept("}") {
		return record(&head)
	}
	*in = head
	return nil, nil
}

// record makes a native record of the parts of l.
func record(l *textLevel) (Term, error) {
	r := Record{Module: l.Parts[0].(Atom), Name: l.Parts[1].(Atom), Exported: true}
	r.Fields = make([]Field, 0, len(l.Parts)/2-1)
	for i := 2; i < len(l.Parts); i += 2 {
		r.Fields = append(r.Fields, Field{Name: l.Parts[i].(Atom), Value: l.Parts[i+1]})
	}
	if duplicateField(r.Fields) {
		return nil, &TextError{Offset: l.N, Err: ErrDuplicate}
	}
	return r, nil
}
