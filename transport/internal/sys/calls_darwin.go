package sys

import "golang.org/x/sys/unix"

// HasWritev says that there is a Writev.
const HasWritev = true

// maxVector is how many buffers a call takes: IOV_MAX of writev(2).
const maxVector = 1024

func Writev(fd int, v [][]byte) (int64, error) {
	n, err := unix.Writev(fd, oneCall(v))
	return int64(max(n, 0)), err
}

// oneCall is what of v goes into one call.
func oneCall(v [][]byte) [][]byte {
	v = v[:min(len(v), maxVector)]
	left := mostBytes
	for i, b := range v {
		if len(b) > left {
			return append(append([][]byte(nil), v[:i]...), b[:left])
		}
		left -= len(b)
	}
	return v
}

func Unarrived(fd int) (int, error) { return unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE) }
