//go:build !unix

package nodes

import "errors"

func duplicate(int) (int, error) { return -1, errors.ErrUnsupported }

func closeOnExec(int) {}

func closeDescriptor(int) error { return errors.ErrUnsupported }
