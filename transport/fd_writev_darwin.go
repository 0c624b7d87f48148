package transport

import (
	"time"

	"golang.org/x/sys/unix"
)

func writevFD(fd int, v [][]byte, _ time.Duration) (int64, error) {
	if v = v[:min(len(v), maxVector)]; length(v) > mostBytes {
		v = cut(nil, v, 0, mostBytes)
	}
	n, err := unix.Writev(fd, v)
	return int64(max(n, 0)), err
}

func writevUnix(u *UnixSocket, v [][]byte, tmo time.Duration) (int64, error) {
	return writevFD(u.fd, v, tmo)
}
