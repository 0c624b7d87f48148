package ei

import "unicode/utf8"

// Charlist gives the text of a string as Erlang writes it, "abc": a list of characters, in either
// of its forms. A byte of a String is the character of that number, and [] is the empty text. It is
// false for any other term: a binary, an improper list, a list with an element that is no Unicode
// character. See erl_ext_dist, STRING_EXT, and the type string() of the Erlang Reference Manual,
// "Types and Function Specifications". For text that may also be a binary, or have binaries in it,
// see DecodeOptions.LenientText.
func Charlist(t Term) (text string, ok bool) {
	list, ok := Elements(t)
	if !ok {
		return "", false
	}
	b := make([]byte, 0, len(list))
	for _, e := range list {
		c, ok := e.(Int)
		if !ok || c < 0 || c > utf8.MaxRune || !utf8.ValidRune(rune(c)) {
			return "", false
		}
		b = utf8.AppendRune(b, rune(c))
	}
	return string(b), true
}
