//go:build !linux

package discovery

import "errors"

const envServe = "CNODE_TEST_KEEP"

func serve(string) error { return errors.ErrUnsupported }
