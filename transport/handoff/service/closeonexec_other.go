//go:build !unix

package service

import (
	"errors"
	"os"
)

// closeOnExec is for systems where a process inherits descriptors by their numbers.
func closeOnExec(int) {}

// dup is for such systems, too.
func dup(int, string) (*os.File, error) { return nil, errors.ErrUnsupported }
