//go:build unix

package main

import (
	"testing"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

func TestPlugin(t *testing.T) {
	transporttest.Run(t, func() (transport.Transport, transport.Addr, error) {
		tr, err := transport.New(counting(), nil)
		if err != nil {
			return nil, nil, err
		}
		at, err := transport.ParseAddr("127.0.0.1:0")
		return tr, at, err
	})
}
