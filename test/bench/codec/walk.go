package main

import (
	"fmt"

	"github.com/cnode-go/cnode/ei"
)

// sum makes sure that what is read is used.
var sum int64

func prepareWalk(shape string, data []byte) (func() error, error) {
	walk, atoms := shapes[shape].walk, ei.NewAtomTable(0)
	var c ei.Cursor // used again: walk is a variable, so it would be allocated each time
	once := func() error {
		c = ei.NewCursor(data)
		c.Atoms = atoms
		if err := c.Version(); err != nil {
			return err
		}
		if err := walk(&c); err != nil {
			return err
		}
		if c.Len() > 0 {
			return fmt.Errorf("%d bytes left", c.Len())
		}
		return nil
	}
	return once, once()
}

func walkEcho(c *ei.Cursor) error {
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
	_, err = c.Binary()
	return err
}

func walkIntegers(c *ei.Cursor) error {
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
	return c.Nil()
}

func walkAtomMap(c *ei.Cursor) error {
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
	return nil
}

func walkProplist(c *ei.Cursor) error {
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
	return c.Nil()
}

func walkBinary(c *ei.Cursor) error {
	_, err := c.Binary()
	return err
}

func walkRecords(c *ei.Cursor) error {
	n, err := c.List()
	if err != nil {
		return err
	}
	for range n {
		if err := walkRecord(c); err != nil {
			return err
		}
	}
	return c.Nil()
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

func walkNesting(c *ei.Cursor) error {
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
	return nil
}

func walkJSON(c *ei.Cursor) error {
	n, err := c.List()
	if err != nil {
		return err
	}
	for range n {
		if err := walkDocument(c); err != nil {
			return err
		}
	}
	return c.Nil()
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
