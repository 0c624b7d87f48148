package pubsub

import (
	"encoding/binary"
)

// phash2 is erlang:phash2(Binary, Range), by which a topic has its shard.
func phash2(s string, size int) int {
	const golden = 0x9e3779b9
	a, b, c := uint32(golden), uint32(golden), uint32(golden*13&(1<<32-1)) // 13 is for binaries
	if s == "" {
		return int(c % uint32(size))
	}
	mix := func() { // by Bob Jenkins, 1996
		for _, by := range [...][3]int{{13, 8, 13}, {12, 16, 5}, {3, 10, 15}} {
			a = a - b - c ^ c>>by[0]
			b = b - c - a ^ a<<by[1]
			c = c - a - b ^ b>>by[2]
		}
	}
	rest := []byte(s)
	for ; len(rest) >= 12; rest = rest[12:] {
		a += binary.LittleEndian.Uint32(rest)
		b += binary.LittleEndian.Uint32(rest[4:])
		c += binary.LittleEndian.Uint32(rest[8:])
		mix()
	}
	var last [12]byte
	copy(last[:], rest)
	a += binary.LittleEndian.Uint32(last[:])
	b += binary.LittleEndian.Uint32(last[4:])
	c += uint32(len(s)) + binary.LittleEndian.Uint32(last[8:])<<8
	mix()
	return int(c % uint32(size))
}
