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

// cut appends n bytes of v to dst, those after the first skip.
func cut(dst, v [][]byte, skip, n int64) [][]byte {
	for _, b := range v {
		if n == 0 {
			break
		}
		k := min(skip, int64(len(b)))
		skip -= k
		b = b[k:]
		b = b[:min(n, int64(len(b)))]
		n -= int64(len(b))
		if len(b) > 0 {
			dst = append(dst, b)
		}
	}
	return dst
}
