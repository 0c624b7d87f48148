//go:build !unix

package transporttest

import "errors"

const canDuplicate = false

func duplicate(int) (int, error) { return -1, errors.ErrUnsupported }

func closeDescriptor(int) {}

type file struct{}

func fileOf(int) (file, error) { return file{}, errors.ErrUnsupported }
