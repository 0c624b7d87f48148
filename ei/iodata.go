package ei

import "unicode/utf8"

// AppendIodata reads a term that is I/O data (a binary, or a list of bytes, binaries and such
// lists, which may end in a binary) and appends its bytes to dst: ei_decode_iodata. Apart from the
// result it needs a few bytes of memory for each open list. Any other term is ErrType; dst is then
// returned unchanged, and the cursor stays.
func (c *Cursor) AppendIodata(dst []byte) ([]byte, error) { return c.appendIodata(dst, false) }

// appendIodata is AppendIodata; with chars integers are characters, which are appended in UTF-8.
func (c *Cursor) appendIodata(dst []byte, chars bool) ([]byte, error) {
	at := *c
	out := dst
	var open []int // for each open list, the elements that are still to come; at 0 its tail is next
	for {
		tag, err := at.Peek()
		if err != nil {
			return dst, err
		}
		top := len(open) - 1
		element := top >= 0 && open[top] > 0
		switch {
		case tag == TagListExt:
			n, err := at.count(1)
			if err != nil {
				return dst, err
			}
			if n == 0 { // it stands for its tail
				continue
			}
			if element {
				open[top]--
				open = append(open, n)
			} else if top >= 0 { // a list as the tail continues the open list
				open[top] = n
			} else {
				open = append(open, n)
			}
			continue
		case tag.IsInteger() && element:
			if chars {
				start := at.off
				if v, err := at.Int(); err == nil && v >= 0 && v <= utf8.MaxRune && utf8.ValidRune(rune(v)) {
					out = utf8.AppendRune(out, rune(v))
				} else {
					return dst, c.wrong(start, "character")
				}
				break
			}
			v, err := at.byte()
			if err != nil {
				return dst, err
			}
			out = append(out, v)
		case tag == TagNilExt || tag == TagStringExt:
			s, err := at.Str()
			if err != nil {
				return dst, err
			}
			if chars {
				out = latin1ToUTF8(out, s)
			} else {
				out = append(out, s...)
			}
		case tag.IsBinary():
			data, err := at.Binary()
			if err != nil {
				return dst, err
			}
			out = append(out, data...)
		default:
			return dst, at.wrong(at.off, "I/O data")
		}
		switch {
		case element:
			open[top]--
		// that was the tail; the list itself was counted as an element when it was opened
		case top > 0:
			open = open[:top]
		default:
			c.off = at.off
			return out, nil
		}
	}
}
