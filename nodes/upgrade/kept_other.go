//go:build !linux

package upgrade

import (
	"context"
	"errors"
	"os"

	"github.com/cnode-go/cnode/nodes"
)

// restartSignal is none: only Linux has a service manager that keeps descriptors.
var restartSignal os.Signal

type kept struct{}

func takeKept() (*kept, error) { return nil, nil }

func (*kept) restore(context.Context, nodes.Config) (*nodes.Node, error) {
	return nil, errors.ErrUnsupported
}

func keep(context.Context, *nodes.Node) error { return errors.ErrUnsupported }
