//go:build !unix

package nodes

import (
	"errors"
	"os"

	"github.com/cnode-go/cnode/transport"
)

func withdraw(*transport.Stream) {}

func streamPair() (one, other int, err error) { return -1, -1, errors.ErrUnsupported }

func fileOf(int) *os.File { return nil }
