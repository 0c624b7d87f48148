package ei

// atomText decodes the next atom as an Atom.
func (d *decoder) atomText() Atom {
	a, _ := d.atom().(Atom)
	return a
}

// atom decodes the next atom as a Term, so that an atom which was met before is not allocated
// again.
func (d *decoder) atom() Term {
	off := d.off
	b := d.b[off:]
	if Tag(b[0]) == TagSmallAtomUTF8Ext {
		d.off += 2 + int(b[1])
		return d.intern(off, b[2:2+int(b[1])])
	}
	if Tag(b[0]) == TagAtomCacheRef {
		a, next, err := d.cacheRefAt(off)
		d.done(next, err)
		return a
	}
	body, latin1, next, err := d.atomBody(off)
	d.done(next, err)
	if latin1 {
		return d.intern(off, latin1ToUTF8(nil, body))
	}
	return d.intern(off, body)
}

func (d *decoder) intern(off int, text []byte) Term {
	if a := wellKnown(text); a != nil {
		return a
	}
	if d.Atoms != nil {
		a, slot := d.Atoms.find(text)
		switch {
		case a != nil:
			return termOf(a)
		case d.own == nil && !(d.emptied && d.Atoms.isFull()):
			d.emptied = d.emptied || d.Atoms.isFull()
			if !d.mayAdd(off) {
				return nil
			}
			a := Atom(text) // in no slab, for it lives on
			d.Atoms.add(&a, slot)
			return termOf(&a)
		}
	}
	if d.own == nil && (d.Atoms != nil || d.newAtoms == 4*len(d.recent) || d.maxAtoms <= 4*len(d.recent)) {
		d.remember()
	}
	if d.own != nil {
		a, slot := d.own.find(text)
		if a == nil {
			if !d.mayAdd(off) {
				return nil
			}
			a = d.newAtom(text)
			d.own.add(a, slot)
		}
		return termOf(a)
	}
	h := len(text) // not 0: the empty atom is a well-known one
	h = h*31 + int(text[0])
	h = h*31 + int(text[h%len(text)])
	h = h*31 + int(text[len(text)-1])
	slot := &d.recent[(h^h>>5)%len(d.recent)]
	if *slot != nil && string(**slot) == string(text) {
		return termOf(*slot)
	}
	if !d.mayAdd(off) {
		return nil
	}
	*slot = d.newAtom(text)
	return termOf(*slot)
}

// newAtom makes an atom that belongs to this term alone.
func (d *decoder) newAtom(text []byte) *Atom {
	if len(text) > slabBytes {
		a := Atom(text)
		return &a
	}
	return d.header().atom(d.copy(text))
}

// remember makes a table for this term alone, once it has too many atoms for Atoms or recent: an
// atom that drops out of those would be counted again when it is met again.
func (d *decoder) remember() {
	d.own = NewAtomTable(d.maxAtoms)
	d.own.grow(min(d.want.atoms, d.maxAtoms))
	if d.Atoms != nil {
		return
	}
	d.newAtoms = 0
	for _, a := range d.recent {
		if a != nil {
			_, slot := d.own.find(bytesOf(*a))
			d.own.add(a, slot)
			d.newAtoms++
		}
	}
}

// mayAdd counts an atom that is about to be allocated, and reports whether the limit allows it.
func (d *decoder) mayAdd(off int) bool {
	if d.newAtoms >= d.maxAtoms {
		d.reject(off, &LimitError{Limit: "Atoms", Max: d.maxAtoms})
		return false
	}
	d.newAtoms++
	return true
}

// wellKnown gives the atom with this text if it is one of those that most messages are made of,
// which are never allocated; else nil.
func wellKnown(text []byte) Term {
	switch string(text) {
	case "":
		return Atom("")
	case "ok":
		return Atom("ok")
	case "error":
		return Atom("error")
	case "true":
		return Atom("true")
	case "false":
		return Atom("false")
	case "undefined":
		return Atom("undefined")
	case "nil":
		return Atom("nil")
	case "normal":
		return Atom("normal")
	case "infinity":
		return Atom("infinity")
	case "process":
		return Atom("process")
	case "alias":
		return Atom("alias")
	case "noproc":
		return Atom("noproc")
	case "noconnection":
		return Atom("noconnection")
	case "EXIT":
		return Atom("EXIT")
	case "DOWN":
		return Atom("DOWN")
	case "rex":
		return Atom("rex")
	case "call":
		return Atom("call")
	case "cast":
		return Atom("cast")
	case "badrpc":
		return Atom("badrpc")
	case "user":
		return Atom("user")
	case "$gen_call":
		return Atom("$gen_call")
	case "$gen_cast":
		return Atom("$gen_cast")
	case "is_auth":
		return Atom("is_auth")
	case "yes":
		return Atom("yes")
	}
	return nil
}
