//go:build !unix

package handoff

import "errors"

func inspect(int) (Socket, error)                  { return Socket{}, errors.ErrUnsupported }
func socketType(int) (family, kind int, err error) { return 0, 0, errors.ErrUnsupported }
