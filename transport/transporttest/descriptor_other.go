//go:build !linux

package transporttest

func nonblocking(int) (on, ok bool)  { return false, false }
func closesOnExec(int) (on, ok bool) { return false, false }
