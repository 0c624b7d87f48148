package ei

// A bitWriter puts bits together.
type bitWriter struct {
	data []byte
	free int // bits of the last byte not yet used, 0 to 7
}

// bits appends the low n bits of v, n <= 64.
func (w *bitWriter) bits(v uint64, n int) {
	for n > 0 {
		if w.free == 0 {
			w.data = append(w.data, 0)
			w.free = 8
		}
		k := min(n, w.free)
		part := byte(v>>(n-k)) & (1<<k - 1)
		w.data[len(w.data)-1] |= part << (w.free - k)
		w.free -= k
		n -= k
	}
}

func (w *bitWriter) term() Term {
	switch {
	case len(w.data) == 0:
		return emptyBinary
	case w.free == 0:
		return Binary(w.data)
	}
	return Bitstring{Data: w.data, Bits: uint8(8 - w.free)}
}
