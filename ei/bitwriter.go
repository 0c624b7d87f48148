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

// bytes appends the first n bits of data.
func (w *bitWriter) bytes(data []byte, n int) {
	if w.free == 0 {
		w.data = append(w.data, data[:n/8]...)
	} else {
		for _, x := range data[:n/8] {
			w.bits(uint64(x), 8)
		}
	}
	if rest := n % 8; rest > 0 {
		w.bits(uint64(data[n/8]>>(8-rest)), rest)
	}
}

// len gives the number of bits.
func (w *bitWriter) len() int { return 8*len(w.data) - w.free }

// truncate takes all but n bits off.
func (w *bitWriter) truncate(n int) {
	w.data = w.data[:(n+7)/8]
	if w.free = 8*len(w.data) - n; w.free > 0 {
		w.data[len(w.data)-1] &= 0xff << w.free
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
