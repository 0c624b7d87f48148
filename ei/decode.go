package ei

import "math"

// Decode decodes one term with its version byte, within the default Limits. A compressed term is
// inflated; a LOCAL_EXT gives a Local. All of b must be used, else the error is ErrTrailing. The
// result shares no memory with b. Every error is a *SyntaxError.
func Decode(b []byte) (Term, error) {
	t, n, err := DecodeOptions{}.prefix(b)
	return whole(b, t, n, err)
}

// Decode is the function Decode with options. It also takes a term without version byte, such as a
// Raw: no term starts with that byte.
func (o DecodeOptions) Decode(b []byte) (Term, error) {
	decode := o.plain
	if isVersioned(b) {
		decode = o.prefix
	}
	t, n, err := decode(b)
	return whole(b, t, n, err)
}

// isVersioned reports whether b begins with the version byte, as no term does.
func isVersioned(b []byte) bool { return len(b) > 0 && b[0] == VersionMagic }

// whole gives a term that took n bytes of b, if that is all of them.
func whole(b []byte, t Term, n int, err error) (Term, error) {
	switch {
	case err != nil:
		return nil, err
	case n < len(b):
		return nil, &SyntaxError{Offset: n, Err: ErrTrailing}
	}
	return t, nil
}

// plain decodes the term at the start of b, which has no version byte.
func (o DecodeOptions) plain(b []byte) (t Term, n int, err error) {
	o = o.inForce()
	c := NewCursor(b)
	c.Atoms = o.Atoms
	t, err = c.decode(&o, o.Alias)
	return t, c.off, err
}

// prefix decodes the term with its version byte at the start of b, and gives its length in
// bytes, version byte included.
func (o DecodeOptions) prefix(b []byte) (t Term, n int, err error) {
	o = o.inForce()
	c := NewCursor(b)
	c.Atoms = o.Atoms
	if err := c.Version(); err != nil {
		return nil, 0, err
	}
	switch tag, _ := c.Peek(); tag {
	case TagCompressed:
		plain, n, err := inflate(b, o.Limits.Decompressed)
		if err != nil {
			return nil, 0, err
		}
		if len(plain) > 1 && Tag(plain[1]) == TagLocalExt {
			if len(plain) > o.Limits.Bytes {
				return nil, 0, c.fail(1, &LimitError{Limit: "Bytes", Max: o.Limits.Bytes})
			}
			return Local(plain[2:]), n, nil
		}
		inner := NewCursor(plain)
		inner.Atoms = o.Atoms
		inner.off = 1
		if t, err = inner.decode(&o, true); err != nil {
			return nil, 0, err
		}
		if inner.Len() > 0 {
			return nil, 0, &SyntaxError{Offset: 1, Err: ErrCompressed}
		}
		return t, n, nil
	case TagLocalExt:
		if len(b) > o.Limits.Bytes {
			return nil, 0, c.fail(1, &LimitError{Limit: "Bytes", Max: o.Limits.Bytes})
		}
		body := b[2:]
		if !o.Alias {
			body = append(make([]byte, 0, len(body)), body...)
		}
		return Local(body), len(b), nil
	}
	if t, err = c.decode(&o, o.Alias); err != nil {
		return nil, 0, err
	}
	return t, c.off, nil
}

// Term decodes the next term, without version byte, within the default Limits; Raw and
// DecodeOptions do it with others. It shares no memory with the input. It decodes the whole term,
// whereas ei_decode_ei_term of the C library stops after the head of a tuple, list or map.
func (c *Cursor) Term() (Term, error) {
	o := DecodeOptions{}.inForce()
	return c.decode(&o, false)
}

func (c *Cursor) decode(o *DecodeOptions, alias bool) (Term, error) {
	s := scanner{c: c, strict: o.Strict, records: o.Records}
	end, err := s.whole(o)
	if err != nil {
		return nil, err
	}
	if err := c.takeTree(o, s.memory(end-c.off)); err != nil {
		return nil, c.fail(c.off, err)
	}
	return c.build(o, &s, end, alias)
}

// takeTree takes memory for a tree of terms.
func (c *Cursor) takeTree(o *DecodeOptions, n int) error {
	m := o.budget
	if m == nil {
		m = c.budget()
	}
	switch {
	case m != nil:
		return m.takeTree(n)
	case o.Limits.Memory > 0 && n > o.Limits.Memory:
		return &LimitError{Limit: "Memory", Max: o.Limits.Memory}
	}
	return nil
}

// build makes the tree of a term that a scanner has walked through, up to end.
func (c *Cursor) build(o *DecodeOptions, s *scanner, end int, alias bool) (Term, error) {
	var d decoder // set field by field: a composite literal would be made elsewhere and copied
	d.Cursor, d.alias, d.maxAtoms = *c, alias, o.Limits.Atoms
	d.start(s.counts)
	t := d.term()
	if d.err != nil {
		return nil, d.err
	}
	if o.Strict && clash(t) {
		return nil, c.fail(c.off, ErrRefused)
	}
	c.off = end
	return t, nil
}

// Decode decodes the term within the default Limits. DecodeOptions do it with others.
func (t Raw) Decode() (Term, error) {
	v, n, err := DecodeOptions{}.plain(t)
	return whole(t, v, n, err)
}

// Fun reads a closure: ei_decode_fun. It allocates the free variables.
func (c *Cursor) Fun() (Fun, error) {
	if c.off >= len(c.b) || Tag(c.b[c.off]) != TagNewFunExt && Tag(c.b[c.off]) != TagFunExt {
		return Fun{}, c.wrong(c.off, "closure")
	}
	t, err := c.Term()
	if err != nil {
		return Fun{}, err
	}
	return t.(Fun), nil
}

// Record reads a native record. It allocates the fields.
func (c *Cursor) Record() (Record, error) {
	if c.off >= len(c.b) || Tag(c.b[c.off]) != TagRecordExt {
		return Record{}, c.wrong(c.off, "native record")
	}
	t, err := c.Term()
	if err != nil {
		return Record{}, err
	}
	return t.(Record), nil
}

// budget is that of the Unmarshaler that reads; nil: there is none.
func (c *Cursor) budget() *budget {
	if c.options == nil {
		return nil
	}
	return c.options.budget
}

// What Unmarshal may take of memory where Limits.Memory does not say: so many times the length of
// the term, and for a short one leastMemory bytes.
const (
	usualMemory = 10
	leastMemory = 16 << 20
)

// grantStep is how many bytes of memory a function given to Shared is asked for at least.
const grantStep = 1 << 10

// A budget is the memory that values may take which are read one after the other, or one within the
// other. What was taken does not come back, not even that of slices that had to grow.
type budget struct {
	left  int // bytes that may be taken without more ado
	rest  int // what there is besides, for which grant is asked first
	max   int // in all
	isSet bool
	grant func(bytes int) error // nil: nobody is asked
}

// A sharing is what several terms are decoded with, one after the other or one within the other.
type sharing struct {
	DecodeOptions
	memory budget
}

// newBudget is the budget for terms of n bytes.
func (o DecodeOptions) newBudget(n int) budget {
	m := budget{max: o.Limits.Memory, isSet: o.Limits.Memory != 0}
	switch {
	case m.max < 0:
		m.max = math.MaxInt
	case m.max == 0:
		m.max = max(leastMemory, product(n, usualMemory))
	}
	m.left = m.max
	return m
}

// Shared gives options for several terms, of so many bytes in all: the Go values that they become
// take memory together, from what Limits allow for all of them. grant, if it is not nil, is asked
// for that memory before it is taken, step by step, and its error refuses what is being read: an
// *UnmarshalError that wraps it. What has been granted does not come back. The options that Shared
// gives are for one goroutine, and for these terms.
func (o DecodeOptions) Shared(size int, grant func(bytes int) error) DecodeOptions {
	o = o.inForce()
	m := o.newBudget(size)
	if m.grant = grant; grant != nil {
		m.left, m.rest = 0, m.max
	}
	o.budget = &m
	return o
}

// take takes n bytes.
func (m *budget) take(n int) error {
	if n <= m.left {
		m.left -= n
		return nil
	}
	return m.takeMore(n)
}

func (m *budget) takeMore(n int) error {
	more := n - m.left
	if more > m.rest {
		return &LimitError{Limit: "Memory", Max: m.max}
	}
	step := min(max(more, grantStep, (m.max-m.rest)/8), m.rest)
	if err := m.grant(step); err != nil {
		return err
	}
	m.rest -= step
	m.left += step - n
	return nil
}

// takeTree takes n bytes for a tree of terms: see Limits.
func (m *budget) takeTree(n int) error {
	switch {
	case m.isSet:
		return m.take(n)
	case m.grant != nil:
		return m.grant(n)
	}
	return nil
}
