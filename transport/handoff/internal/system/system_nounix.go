//go:build !unix

package system

import "errors"

// NotLingering does nothing where no descriptor comes.
func NotLingering(int) {}

// SocketType tells what a socket is.
func SocketType(int) (family, kind int, listening bool, err error) {
	return 0, 0, false, errors.ErrUnsupported
}
