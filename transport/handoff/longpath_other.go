//go:build !linux

package handoff

import "github.com/cnode-go/cnode/transport"

// longPath refuses a path that is longer than the address of a UNIX socket can be: only Linux names
// an open directory in a path.
func longPath(path string) (transport.Addr, error) { return transport.FromUnixPath(path) }

func shortened(path string, do func(short string) error) error { return do(path) }
