package ei

import "log/slog"

// Handlers of package slog print what consists of bytes as bytes, and that of JSON a string as text, whatever the method String gives. And
// what a peer has sent may be large: a log has the beginning of its text.

// maxLogged is how many bytes of a term's text go into a log.
const maxLogged = 1024

func logged(t Term) slog.Value { return slog.StringValue(Brief(t, maxLogged)) }

// LogValue gives package slog the text of the list, the beginning of a long one.
func (t String) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the binary, the beginning of a long one.
func (t Binary) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the bitstring, the beginning of a long one.
func (t Bitstring) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the list, the beginning of a long one.
func (t List) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the list, the beginning of a long one.
func (t ImproperList) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the tuple, the beginning of a long one.
func (t Tuple) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the map, the beginning of a long one.
func (t Map) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the record, the beginning of a long one.
func (t Record) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the integer, the beginning of a long one.
func (t BigInt) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the term's length.
func (t Local) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the term that it holds, the beginning of a long one; of a term of more than 64 KiB its length.
func (t Raw) LogValue() slog.Value { return logged(t) }
