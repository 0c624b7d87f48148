package main

import (
	"bytes"
	"fmt"

	"github.com/ergo-services/ergo/etf"
	"github.com/ergo-services/ergo/lib"

	"github.com/cnode-go/cnode/ei"
)

func prepareDecode(_ string, data []byte) (func() error, error) {
	once := func() error {
		_, err := ei.Decode(data)
		return err
	}
	return once, once()
}

func prepareEncode(_ string, data []byte) (func() error, error) {
	t, err := ei.Decode(data)
	if err != nil {
		return nil, err
	}
	var b []byte
	once := func() (err error) {
		b, err = ei.AppendTerm(ei.AppendVersion(b[:0]), t)
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

// As ergo's proto/dist has them with a node of OTP 25.
var (
	ergoDecode = etf.DecodeOptions{FlagBigPidRef: true}
	ergoEncode = etf.EncodeOptions{FlagBigPidRef: true, FlagBigCreation: true}
)

func prepareErgoDecode(_ string, data []byte) (func() error, error) {
	once := func() error {
		_, rest, err := etf.Decode(data[1:], nil, ergoDecode)
		if len(rest) > 0 {
			return fmt.Errorf("%d bytes left", len(rest))
		}
		return err
	}
	return once, once()
}

// prepareErgoEncode does not compare the bytes: ergo has maps in any order, and writes old tags.
func prepareErgoEncode(_ string, data []byte) (func() error, error) {
	t, _, err := etf.Decode(data[1:], nil, ergoDecode)
	if err != nil {
		return nil, err
	}
	b := lib.TakeBuffer()
	once := func() error {
		b.Reset()
		return etf.Encode(t, b, ergoEncode)
	}
	return once, once()
}
