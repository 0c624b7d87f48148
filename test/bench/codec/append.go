package main

import (
	"bytes"
	"errors"

	"github.com/cnode-go/cnode/ei"
)

var errOther = errors.New("the bytes are not those of the file")

func prepareAppend(shape string, data []byte) (func() error, error) {
	add, b := shapes[shape].append, make([]byte, 0, 2*len(data))
	once := func() (err error) {
		b, err = add(ei.AppendVersion(b[:0]))
		return err
	}
	if err := once(); err != nil {
		return nil, err
	}
	if !bytes.Equal(b, data) {
		return nil, errOther
	}
	return once, nil
}

func appendEcho(b []byte) ([]byte, error) {
	b, err := ei.AppendAtom(ei.AppendTupleHeader(b, 4), "echo")
	if err != nil {
		return nil, err
	}
	if b, err = ei.AppendPid(b, pid); err != nil {
		return nil, err
	}
	return ei.AppendBinary(ei.AppendInt(b, 42), hello), nil
}

func appendIntegers(b []byte) ([]byte, error) {
	b = ei.AppendListHeader(b, integers)
	for i := range integers {
		b = ei.AppendInt(b, int64(1000*i))
	}
	return ei.AppendNil(b), nil
}

func appendAtomMap(b []byte) (_ []byte, err error) {
	b = ei.AppendMapHeader(b, atomPairs)
	for i := range atomPairs {
		if b, err = ei.AppendAtom(b, keys[i]); err != nil {
			return nil, err
		}
		b = append(ei.AppendBinaryHeader(b, len(values[i])), values[i]...)
	}
	return b, nil
}

func appendProplist(b []byte) (_ []byte, err error) {
	b = ei.AppendListHeader(b, options)
	for i := range options {
		if b, err = ei.AppendAtom(ei.AppendTupleHeader(b, 2), names[i]); err != nil {
			return nil, err
		}
		b = ei.AppendInt(b, int64(10*i))
	}
	return ei.AppendNil(b), nil
}

func appendBinary(b []byte) ([]byte, error) { return ei.AppendBinary(b, large), nil }

func appendRecords(b []byte) (_ []byte, err error) {
	b = ei.AppendListHeader(b, records)
	for i := range records {
		if b, err = ei.AppendAtom(ei.AppendTupleHeader(b, 7), "person"); err != nil {
			return nil, err
		}
		b = ei.AppendInt(b, int64(100000+i))
		b = append(ei.AppendBinaryHeader(b, len(people[i])), people[i]...)
		b = ei.AppendBinary(b, email)
		b = ei.AppendInt(b, int64(20+i%50))
		if b, err = ei.AppendFloat(b, 1.5*float64(i)); err != nil {
			return nil, err
		}
		if b, err = ei.AppendAtom(b, "active"); err != nil {
			return nil, err
		}
	}
	return ei.AppendNil(b), nil
}

func appendNesting(b []byte) ([]byte, error) {
	for range depth {
		b = ei.AppendListHeader(b, 2)
	}
	b = ei.AppendNil(b)
	for i := range depth {
		b = ei.AppendNil(ei.AppendInt(b, int64(i)))
	}
	return b, nil
}

func appendJSON(b []byte) (_ []byte, err error) {
	key := func(n int) { b = append(ei.AppendBinaryHeader(b, len(members[n])), members[n]...) }
	b = ei.AppendListHeader(b, documents)
	for i := range documents {
		b = ei.AppendMapHeader(b, len(members))
		key(0)
		b = ei.AppendInt(b, int64(1000+i))
		key(1)
		b = append(ei.AppendBinaryHeader(b, len(titles[i])), titles[i]...)
		key(2)
		if b, err = ei.AppendFloat(b, 0.5*float64(i)); err != nil {
			return nil, err
		}
		key(3)
		b = ei.AppendInt(b, int64(i))
		key(4)
		b = ei.AppendBool(b, true)
		key(5)
		b = ei.AppendListHeader(b, 2)
		b = ei.AppendNil(ei.AppendBinary(ei.AppendBinary(b, tag), tag))
	}
	return ei.AppendNil(b), nil
}
