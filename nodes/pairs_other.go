//go:build !unix

package nodes

import (
	"errors"
	"net"
	"os"
)

func withdraw(handedSocket) {}

func streamPair() (one, other int, err error) { return -1, -1, errors.ErrUnsupported }

func awaitInput(*net.UnixConn) error { return errors.ErrUnsupported }

func fileOf(int) *os.File { return nil }
