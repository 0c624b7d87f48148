//go:build !unix

package descriptor

import (
	"errors"
	"net"
	"os"
)

// Duplicate, Close, FileOf, StreamPair and AwaitInput fail where descriptors cannot be passed; the
// others do nothing, and File gives nil.

func Duplicate(int) (int, error) { return -1, errors.ErrUnsupported }

func CloseOnExec(int) {}

func Close(int) error { return errors.ErrUnsupported }

func Shutdown(int) {}

func File(int) *os.File { return nil }

func FileOf(int) (*os.File, error) { return nil, errors.ErrUnsupported }

func StreamPair() (one, other int, err error) { return -1, -1, errors.ErrUnsupported }

func AwaitInput(*net.UnixConn) error { return errors.ErrUnsupported }
