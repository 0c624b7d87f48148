//go:build unix && !(linux || darwin)

package transport

import "time"

// x/sys has no writev here: nil, and buffers go out one by one.
var (
	writevFD   func(fd int, v [][]byte, tmo time.Duration) (int64, error)
	writevUnix func(u *UnixSocket, v [][]byte, tmo time.Duration) (int64, error)
)
