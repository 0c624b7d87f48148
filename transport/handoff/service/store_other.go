//go:build !linux

package service

import (
	"context"
	"errors"
	"os"
)

// restartSignal is none: only Linux has a service manager that keeps descriptors.
var restartSignal os.Signal

func takeKept() (*Kept, error) { return nil, nil }

// Forget is for what systemd has kept, which only Linux has.
func (*Kept) Forget() error { return nil }

func keep(context.Context, Owner) error { return errors.ErrUnsupported }

func (s *Service) replaceInPlace(context.Context) error { return errors.ErrUnsupported }
