//go:build unix

package main

import (
	"io"
	"log"
	"testing"

	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

func TestPlugin(t *testing.T) {
	log.SetOutput(io.Discard) // a line for each of the suite's sockets
	transporttest.Run(t, func() (transport.Transport, transport.Addr, error) {
		tr, err := transport.New(counting(), nil)
		if err != nil {
			return nil, nil, err
		}
		at, err := transport.ParseAddr("127.0.0.1:0")
		return tr, at, err
	})
}
