package main

import (
	"bytes"
	"encoding/json"

	"github.com/fxamacker/cbor/v2"

	"github.com/cnode-go/cnode/ei"
)

// The Go types of the shapes that programs have structs for.
type (
	echo struct {
		_    struct{} `ei:"tuple=echo"`
		From ei.Pid
		N    int
		Text string
	}
	human struct {
		_       struct{} `ei:"tuple=person"`
		ID      int64
		Name    string
		Email   string
		Age     int
		Balance float64
		Status  ei.Atom
	}
	article struct {
		_      struct{} `ei:"keys=binary"`
		ID     int64    `json:"id"`
		Name   string   `json:"name"`
		Price  float64  `json:"price"`
		Stock  int      `json:"stock"`
		Active bool     `json:"active"`
		Tags   []string `json:"tags"`
	}
)

// fresh makes a pointer to a zero value of the shape's Go type; without one the shape has no
// struct.
var fresh = map[string]func() any{
	"echo":     func() any { return new(echo) },
	"integers": func() any { return new([]int64) },
	"atom-map": func() any { return new(map[ei.Atom]string) },
	"records":  func() any { return new([]human) },
	"json":     func() any { return new([]article) },
}

func prepareUnmarshal(shape string, data []byte) (func() error, error) {
	once := func() error { return ei.Unmarshal(data, fresh[shape]()) }
	return once, once()
}

// prepareMarshal appends after what there is, so that all but the value's own is used again.
func prepareMarshal(shape string, data []byte) (func() error, error) {
	v := fresh[shape]()
	if err := ei.Unmarshal(data, v); err != nil {
		return nil, err
	}
	var b []byte
	once := func() (err error) {
		b, err = ei.Append(ei.AppendVersion(b[:0]), v)
		return err
	}
	return once, once()
}

// asJSON gives the value of the shape in JSON, a pid as an object.
func asJSON(shape string, data []byte) (any, []byte, error) {
	v := fresh[shape]()
	if err := ei.Unmarshal(data, v); err != nil {
		return nil, nil, err
	}
	text, err := json.Marshal(v)
	return v, text, err
}

func prepareJSONUnmarshal(shape string, data []byte) (func() error, error) {
	_, text, err := asJSON(shape, data)
	if err != nil {
		return nil, err
	}
	once := func() error { return json.Unmarshal(text, fresh[shape]()) }
	return once, once()
}

func prepareJSONMarshal(shape string, data []byte) (func() error, error) {
	v, _, err := asJSON(shape, data)
	if err != nil {
		return nil, err
	}
	once := func() error {
		_, err := json.Marshal(v)
		return err
	}
	return once, once()
}

// prepareCBORMarshal appends to a buffer that is used again, as prepareMarshal does.
func prepareCBORMarshal(shape string, data []byte) (func() error, error) {
	v := fresh[shape]()
	if err := ei.Unmarshal(data, v); err != nil {
		return nil, err
	}
	mode, err := cbor.EncOptions{}.UserBufferEncMode()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	once := func() error {
		b.Reset()
		return mode.MarshalToBuffer(v, &b)
	}
	return once, once()
}
