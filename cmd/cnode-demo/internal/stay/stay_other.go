//go:build !linux

package stay

func run([]string) error { return ErrSystem }
