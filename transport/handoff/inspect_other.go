//go:build !unix

package handoff

import "errors"

func inspect(int) (Socket, error) { return Socket{}, errors.ErrUnsupported }
