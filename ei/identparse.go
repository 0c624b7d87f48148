package ei

import "encoding/binary"

// Pid reads a process identifier: ei_decode_pid. In a PID_EXT only two bits of the creation count.
// The node's name is allocated unless Atoms has it.
func (c *Cursor) Pid() (Pid, error) {
	if tag, _ := c.Peek(); !tag.IsPid() {
		return Pid{}, c.wrong(c.off, "pid")
	}
	node, at, err := c.atomAt(c.off + 1)
	if err != nil {
		return Pid{}, err
	}
	p, next, err := c.pidBody(c.off, at, node)
	c.off = next
	return p, err
}

// pidBody reads the rest of the pid at off: what follows the node's name, from offset at on.
func (c *Cursor) pidBody(off, at int, node Atom) (Pid, int, error) {
	tag := Tag(c.b[off])
	b := c.b[at:]
	if len(b) < pidTail(tag) {
		return Pid{}, off, c.fail(off, ErrTruncated)
	}
	p := Pid{Node: node, ID: binary.BigEndian.Uint32(b), Serial: binary.BigEndian.Uint32(b[4:])}
	if tag == TagNewPidExt {
		p.Creation = binary.BigEndian.Uint32(b[8:])
	} else {
		p.Creation = uint32(b[8] & 3)
	}
	return p, at + pidTail(tag), nil
}

// pidTail gives the number of bytes after the node's name.
func pidTail(tag Tag) int {
	if tag == TagPidExt {
		return 4 + 4 + 1
	}
	return 4 + 4 + 4
}

// Port reads a port identifier: ei_decode_port. In a PORT_EXT only two bits of the creation count.
// The node's name is allocated unless Atoms has it.
func (c *Cursor) Port() (Port, error) {
	if tag, _ := c.Peek(); !tag.IsPort() {
		return Port{}, c.wrong(c.off, "port")
	}
	node, at, err := c.atomAt(c.off + 1)
	if err != nil {
		return Port{}, err
	}
	p, next, err := c.portBody(c.off, at, node)
	c.off = next
	return p, err
}

// portBody reads the rest of the port identifier at off: what follows the node's name, from offset
// at on.
func (c *Cursor) portBody(off, at int, node Atom) (Port, int, error) {
	tag := Tag(c.b[off])
	b := c.b[at:]
	if len(b) < portTail(tag) {
		return Port{}, off, c.fail(off, ErrTruncated)
	}
	p := Port{Node: node}
	switch tag {
	case TagV4PortExt:
		p.ID, p.Creation = binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
		p.long = p.ID < 1<<shortPortBits
	case TagNewPortExt:
		p.ID, p.Creation = uint64(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:])
	default:
		p.ID, p.Creation = uint64(binary.BigEndian.Uint32(b)), uint32(b[4]&3)
	}
	return p, at + portTail(tag), nil
}

func portTail(tag Tag) int {
	switch tag {
	case TagV4PortExt:
		return 8 + 4
	case TagNewPortExt:
		return 4 + 4
	}
	return 4 + 1
}

// maxRefWords is the number of words that a reference may have.
const maxRefWords = 5

// Ref reads a reference: ei_decode_ref. In an old form only two bits of the creation count. The
// node's name is allocated unless Atoms has it.
func (c *Cursor) Ref() (Ref, error) {
	tag, words, at, err := c.refHead(c.off)
	if err != nil {
		return Ref{}, err
	}
	node, at, err := c.atomAt(at)
	if err != nil {
		return Ref{}, err
	}
	r, next, err := c.refBody(c.off, at, tag, words, node)
	c.off = next
	return r, err
}

// refBody reads the rest of the reference at off, which has that tag and number of words: what
// follows the node's name, from offset at on.
func (c *Cursor) refBody(off, at int, tag Tag, words int, node Atom) (Ref, int, error) {
	b := c.b[at:]
	if len(b) < refTail(tag, words) {
		return Ref{}, off, c.fail(off, ErrTruncated)
	}
	r := Ref{Node: node, Len: uint8(words)}
	switch tag {
	case TagNewerReferenceExt:
		r.Creation = binary.BigEndian.Uint32(b)
		b = b[4:]
	case TagNewReferenceExt:
		r.Creation = uint32(b[0] & 3)
		b = b[1:]
	default:
		r.Creation = uint32(b[4] & 3)
	}
	for i := range words {
		r.ID[i] = binary.BigEndian.Uint32(b[4*i:])
	}
	return r, at + refTail(tag, words), nil
}

// refHead reads the tag and the number of words of a reference; its node's name is next.
func (c *Cursor) refHead(off int) (tag Tag, words, next int, err error) {
	if off < len(c.b) {
		tag = Tag(c.b[off])
	}
	if !tag.IsRef() {
		return 0, 0, off, c.wrong(off, "reference")
	}
	if tag == TagReferenceExt {
		return tag, 1, off + 1, nil
	}
	if len(c.b)-off < 3 {
		return 0, 0, off, c.fail(off, ErrTruncated)
	}
	words = int(binary.BigEndian.Uint16(c.b[off+1:]))
	if words == 0 || words > maxRefWords {
		return 0, 0, off, c.fail(off, ErrMalformed)
	}
	return tag, words, off + 3, nil
}

func refTail(tag Tag, words int) int {
	if tag == TagNewerReferenceExt {
		return 4 + 4*words
	}
	return 1 + 4*words
}

// Export reads an external fun: ei_decode_fun for that kind. The names are allocated unless Atoms
// has them.
func (c *Cursor) Export() (Export, error) {
	if c.off >= len(c.b) || Tag(c.b[c.off]) != TagExportExt {
		return Export{}, c.wrong(c.off, "external fun")
	}
	mod, at, err := c.atomAt(c.off + 1)
	if err != nil {
		return Export{}, err
	}
	fun, at, err := c.atomAt(at)
	if err != nil {
		return Export{}, err
	}
	arity, at, err := c.exportArity(at)
	if err != nil {
		return Export{}, err
	}
	c.off = at
	return Export{Module: mod, Function: fun, Arity: arity}, nil
}

// exportArity reads the arity of an EXPORT_EXT, which is a SMALL_INTEGER_EXT and no other integer.
func (c *Cursor) exportArity(off int) (arity uint8, next int, err error) {
	b := c.b[off:]
	if len(b) < 2 {
		return 0, off, c.fail(off, ErrTruncated)
	}
	if Tag(b[0]) != TagSmallIntegerExt {
		return 0, off, c.fail(off, ErrMalformed)
	}
	return b[1], off + 2, nil
}
