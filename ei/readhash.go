package ei

import "strings"

// hash reads what starts with #: an identifier, or the beginning of a map or a native record.
func (p *textParser) hash(in *textLevel) (Term, error) {
	p.Pos++
	switch {
	case p.Accept("{"):
		start := p.Pos
		if p.Accept("}") {
			return emptyMap, nil
		}
		*in = textLevel{kind: mapText, n: start}
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

// recordHead reads module:name{ and, if there are fields, the name of the first.
func (p *textParser) recordHead(in *textLevel) (Term, error) {
	head := textLevel{kind: recordText, n: p.Pos}
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
	head.ts = append(head.ts, module, name)
	more, err := p.field(&head)
	if err != nil {
		return nil, err
	}
	if !more {
		return head.record()
	}
	*in = head
	return nil, nil
}

// field reads up to the value of the next field; false if there is none.
func (p *textParser) field(in *textLevel) (more bool, err error) {
	if p.Accept("}") {
		return false, nil
	}
	if len(in.ts) > 2 {
		if err := p.Expect(","); err != nil {
			return false, err
		}
	}
	name, err := p.name()
	if err != nil {
		return false, err
	}
	in.ts = append(in.ts, name)
	return true, p.Expect("=")
}

// record makes a native record of the parts of l.
func (l *textLevel) record() (Term, error) {
	r := Record{Module: l.ts[0].(Atom), Name: l.ts[1].(Atom), Exported: true}
	r.Fields = make([]Field, 0, len(l.ts)/2-1)
	for i := 2; i < len(l.ts); i += 2 {
		r.Fields = append(r.Fields, Field{Name: l.ts[i].(Atom), Value: l.ts[i+1]})
	}
	if duplicateField(r.Fields) {
		return nil, &TextError{Offset: l.n, Err: ErrDuplicate}
	}
	return r, nil
}
