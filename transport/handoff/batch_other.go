//go:build !linux

package handoff

// Elsewhere a batch goes packet by packet.

type batches struct{}

func (*Conn) sendMany([]Packet) (n int, full bool, err error)    { return 0, false, nil }
func (*Conn) receiveMany([]Packet) (n int, none bool, err error) { return 0, false, nil }
