//go:build !unix

package handoff

import "errors"

func inspect(int) (Socket, error) { return Socket{}, errors.ErrUnsupported }

func socketType(int) (family, kind int, listening bool, err error) {
	return 0, 0, false, errors.ErrUnsupported
}
