//go:build !unix

package cli

import "os"

func endBy(os.Signal) {}
