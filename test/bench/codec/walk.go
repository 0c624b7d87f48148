package main

import (
	"fmt"
	"runtime"

	"github.com/cnode-go/cnode/ei"
)

// sum makes sure that what is read is used.
var sum int64

func prepareWalk(shape string, data []byte) (func() error, error) {
	walk, atoms := shapes[shape].walk, ei.NewAtomTable(0)
	once := func() error { return walk(data, atoms) }
	return once, once()
}

// end is for the end of the term.
func end(c *ei.Cursor) error {
	runtime.KeepAlive(sum)
	if c.Len() > 0 {
		return fmt.Errorf("%d bytes left", c.Len())
	}
	return nil
}

func walkEcho(data []byte, atoms *ei.AtomTable) error {
	c := ei.NewCursor(data)
	c.Atoms = atoms
	if err := c.Version(); err != nil {
		return err
	}
	if _, err := c.Tuple(); err != nil {
		return err
	}
	if _, err := c.Atom(); err != nil {
		return err
	}
	if _, err := c.Pid(); err != nil {
		return err
	}
	v, err := c.Int()
	if err != nil {
		return err
	}
	sum += v
	if _, err := c.Binary(); err != nil {
		return err
	}
	return end(&c)
}

func walkIntegers(data []byte, atoms *ei.AtomTable) error {
	c := ei.NewCursor(data)
	c.Atoms = atoms
	if err := c.Version(); err != nil {
		return err
	}
	n, err := c.List()
	if err != nil {
		return err
	}
	for range n {
		v, err := c.Int()
		if err != nil {
			return err
		}
		sum += v
	}
	if err := c.Nil(); err != nil {
		return err
	}
	return end(&c)
}

func walkAtomMap(data []byte, atoms *ei.AtomTable) error {
	c := ei.NewCursor(data)
	c.Atoms = atoms
	if err := c.Version(); err != nil {
		return err
	}
	n, err := c.Map()
	if err != nil {
		return err
	}
	for range n {
		if _, err := c.Atom(); err != nil {
			return err
		}
		if _, err := c.Binary(); err != nil {
			return err
		}
	}
	return end(&c)
}

func walkProplist(data []byte, atoms *ei.AtomTable) error {
	c := ei.NewCursor(data)
	c.Atoms = atoms
	if err := c.Version(); err != nil {
		return err
	}
	n, err := c.List()
	if err != nil {
		return err
	}
	for range n {
		if _, err := c.Tuple(); err != nil {
			return err
		}
		if _, err := c.Atom(); err != nil {
			return err
		}
		v, err := c.Int()
		if err != nil {
			return err
		}
		sum += v
	}
	if err := c.Nil(); err != nil {
		return err
	}
	return end(&c)
}

func walkBinary(data []byte, atoms *ei.AtomTable) error {
	c := ei.NewCursor(data)
	c.Atoms = atoms
	if err := c.Version(); err != nil {
		return err
	}
	if _, err := c.Binary(); err != nil {
		return err
	}
	return end(&c)
}

func walkRecords(data []byte, atoms *ei.AtomTable) error {
	c := ei.NewCursor(data)
	c.Atoms = atoms
	if err := c.Version(); err != nil {
		return err
	}
	n, err := c.List()
	if err != nil {
		return err
	}
	for range n {
		if err := walkRecord(&c); err != nil {
			return err
		}
	}
	if err := c.Nil(); err != nil {
		return err
	}
	return end(&c)
}

func walkRecord(c *ei.Cursor) error {
	if _, err := c.Tuple(); err != nil {
		return err
	}
	if _, err := c.Atom(); err != nil {
		return err
	}
	id, err := c.Int()
	if err != nil {
		return err
	}
	if _, err := c.Binary(); err != nil {
		return err
	}
	if _, err := c.Binary(); err != nil {
		return err
	}
	age, err := c.Int()
	if err != nil {
		return err
	}
	f, err := c.Float()
	if err != nil {
		return err
	}
	sum += id + age + int64(f)
	_, err = c.Atom()
	return err
}

func walkNesting(data []byte, atoms *ei.AtomTable) error {
	c := ei.NewCursor(data)
	c.Atoms = atoms
	if err := c.Version(); err != nil {
		return err
	}
	for range depth {
		if _, err := c.List(); err != nil {
			return err
		}
	}
	if err := c.Nil(); err != nil {
		return err
	}
	for range depth {
		v, err := c.Int()
		if err != nil {
			return err
		}
		sum += v
		if err := c.Nil(); err != nil {
			return err
		}
	}
	return end(&c)
}

func walkJSON(data []byte, atoms *ei.AtomTable) error {
	c := ei.NewCursor(data)
	c.Atoms = atoms
	if err := c.Version(); err != nil {
		return err
	}
	n, err := c.List()
	if err != nil {
		return err
	}
	for range n {
		if err := walkDocument(&c); err != nil {
			return err
		}
	}
	if err := c.Nil(); err != nil {
		return err
	}
	return end(&c)
}

func walkDocument(c *ei.Cursor) error {
	n, err := c.Map()
	if err != nil {
		return err
	}
	for range n {
		key, err := c.Binary()
		if err != nil {
			return err
		}
		switch string(key) {
		case "id", "stock":
			var v int64
			v, err = c.Int()
			sum += v
		case "name":
			_, err = c.Binary()
		case "price":
			_, err = c.Float()
		case "active":
			_, err = c.Bool()
		case "tags":
			err = walkTags(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func walkTags(c *ei.Cursor) error {
	n, err := c.List()
	if err != nil {
		return err
	}
	for range n {
		if _, err := c.Binary(); err != nil {
			return err
		}
	}
	return c.Nil()
}
