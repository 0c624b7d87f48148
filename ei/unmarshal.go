package ei

import (
	"bytes"
	"fmt"
	"reflect"
)

// An Unmarshaler is a Go value that can read itself from a term. Its methods have a pointer as
// receiver.
type Unmarshaler interface {
	// ReadTerm reads one term, whole, from the cursor, and keeps nothing of its memory. An error is
	// given on, with the way there.
	ReadTerm(c *Cursor) error
}

// Unmarshal stores a term, with its version byte, in the value that v points to: the inverse of
// Marshal, for the same types. All of data must be used. v, which is not nil, points to
//
//	any, Term                     gets the term as Decode gives it
//	Unmarshaler                   reads it itself
//	a type of terms               a term of that type: an Atom, a Pid, a Tuple, or a Raw, which stays encoded
//	bool                          true, false
//	int, uint, … of any size      an integer; one that does not fit is ErrRange
//	*big.Int, big.Int             an integer
//	float32, float64              a float, or an integer that it can hold exactly
//	string, []byte                I/O data: a binary, or a list of bytes and binaries
//	[n]byte                       a binary of n bytes
//	slice                         a proper list
//	array                         a proper list of that length
//	map                           a map; it is made anew. In its keys a binary is a string in an
//	                              any, and a BinaryKey in a Term, since Go compares no Binary
//	time.Duration                 an integer of the unit in its field's tag, or infinity, the longest
//	struct                        a map, a tuple, a property list: see Append. What has no key there stays as it was
//	*T, Optional[T]               undefined and nil, else what T takes, stored in what is there
//	Result[T]                     ok, {ok, T}, {error, Reason}
//	an interface with methods     one of its variants (see RegisterVariants), or nil for undefined and nil
//
// A term of another kind is an *UnmarshalError with ErrType, one that is malformed a *SyntaxError
// as from Decode, a type that no term can become a *MappingError. v may then have been stored in
// part. What was stored shares no memory with data.
//
// As in all of this package a peer cannot make it take more than memory in proportion to the size
// of data: the default Limits hold, a slice grows as its elements are read, and depth takes no
// goroutine's stack (an Unmarshaler's own may be within another one 10,000 times).
func Unmarshal(data []byte, v any) error { return DecodeOptions{}.unmarshalVersioned(data, v) }

// UnmarshalTerm is Unmarshal of a term that has been decoded, or is a Raw.
func UnmarshalTerm(t Term, v any) error { return DecodeOptions{}.unmarshalTerm(t, v) }

// Unmarshal is UnmarshalTerm, or of a Raw that has its version byte the function Unmarshal, with
// options: ei.DecodeOptions{AtomText: true}.Unmarshal(ei.Raw(data), &v).
func (o DecodeOptions) Unmarshal(t Term, v any) error {
	if raw, ok := t.(Raw); ok && isVersioned(raw) {
		return o.unmarshalVersioned(raw, v)
	}
	return o.unmarshalTerm(t, v)
}

func (o DecodeOptions) unmarshalVersioned(data []byte, v any) error {
	opts := o.inForce()
	c := NewCursor(data)
	c.Atoms = opts.Atoms
	if err := c.Version(); err != nil {
		return err
	}
	trailing := ErrTrailing
	if tag, _ := c.Peek(); tag == TagCompressed {
		plain, n, err := inflate(data, opts.Limits.Decompressed)
		if err != nil {
			return err
		}
		if n < len(data) {
			return c.fail(n, ErrTrailing)
		}
		c.b, trailing = plain, ErrCompressed
	}
	if tag, _ := c.Peek(); tag == TagLocalExt {
		return setLocal(bytes.Clone(c.b[2:]), v)
	}
	if err := c.unmarshal(opts, v); err != nil {
		return err
	}
	if c.Len() > 0 {
		return c.fail(c.off, trailing)
	}
	return nil
}

// setLocal stores a LOCAL_EXT, which only a Term can hold.
func setLocal(t Local, v any) error {
	if _, err := target(v); err != nil {
		return err
	}
	switch v := v.(type) {
	case *any:
		*v = t
	case *Term:
		*v = t
	case *Local:
		*v = t
	default:
		return &UnmarshalError{Offset: 1, Got: t.String(), Want: fmt.Sprintf("a %T", v), Err: ErrLocal}
	}
	return nil
}

func (o DecodeOptions) unmarshalTerm(t Term, v any) error {
	switch t := t.(type) {
	case Raw:
		return o.unmarshalRaw(t, v)
	case Local:
		return setLocal(t, v)
	}
	b, err := AppendTerm(nil, t)
	if err != nil {
		return err
	}
	o.Alias = false
	return o.unmarshalRaw(b, v)
}

// Unmarshal stores the term in the value that v points to, as the function Unmarshal does.
func (t Raw) Unmarshal(v any) error { return DecodeOptions{}.unmarshalRaw(t, v) }

func (o DecodeOptions) unmarshalRaw(t Raw, v any) error {
	c := NewCursor(t)
	c.Atoms = o.Atoms
	if err := c.unmarshal(o.inForce(), v); err != nil {
		return err
	}
	if c.Len() > 0 {
		return c.fail(c.off, ErrTrailing)
	}
	return nil
}

// Unmarshal reads the next term, without version byte, into the value that v points to, as the
// function Unmarshal does; within an Unmarshaler with the options of the whole. For other options
// take it by Raw.
func (c *Cursor) Unmarshal(v any) error {
	var o DecodeOptions
	if c.options != nil {
		o = *c.options
	}
	at := *c
	if at.Atoms == nil {
		at.Atoms = o.Atoms
	}
	if err := at.unmarshal(o.inForce(), v); err != nil {
		return err
	}
	c.off = at.off
	return nil
}

// unmarshal reads the next term into the value that v points to.
func (c *Cursor) unmarshal(o DecodeOptions, v any) error {
	r, err := target(v)
	if err != nil {
		return err
	}
	p, err := planOf(r.Type())
	if err != nil {
		return err
	}
	if len(c.b)-c.off > o.Limits.Bytes { // perhaps of more than this term
		end, err := c.skipAt(c.off)
		if err != nil {
			return err
		}
		if end-c.off > o.Limits.Bytes {
			return c.fail(c.off, &LimitError{Limit: "Bytes", Max: o.Limits.Bytes})
		}
	}
	u := unmarshaler{c: *c, o: o, root: p}
	var own budget
	switch within := c.budget(); {
	case o.budget != nil:
		u.memory = o.budget
	case within != nil:
		u.memory = within
	default:
		own = o.newBudget(c.Len())
		u.memory = &own
	}
	if err := u.run(p, r); err != nil {
		return err
	}
	c.off = u.c.off
	return nil
}

// target gives what v points to.
func target(v any) (reflect.Value, error) {
	r := reflect.ValueOf(v)
	if r.Kind() != reflect.Pointer || r.IsNil() {
		return r, &MappingError{Type: reflect.TypeOf(v), Reason: "Unmarshal wants a pointer that is not nil"}
	}
	return r.Elem(), nil
}
