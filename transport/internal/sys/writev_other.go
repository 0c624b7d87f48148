//go:build unix && !(linux || darwin)

package sys

import "errors"

// HasWritev says that there is a Writev: x/sys has none here, and buffers go out one by one.
const HasWritev = false

func Writev(int, [][]byte) (int64, error) { return 0, errors.ErrUnsupported }
