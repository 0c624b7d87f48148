package ei

import "log/slog"

// The handlers of package slog print a slice of bytes as its bytes, and the JSON handler prints a
// string as its text and a struct as its fields, whatever the method String gives. What a peer has
// sent may also be large, so a log gets only the beginning of its text. Hence the methods LogValue.

// maxLogged is how many bytes of a term's text go into a log.
const maxLogged = 1024

func logged(t Term) slog.Value { return slog.StringValue(Brief(t, maxLogged)) }

// LogValue gives package slog the text of the list, truncated if it is long.
func (t String) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the binary, truncated if it is long.
func (t Binary) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the binary, truncated if it is long.
func (t BinaryKey) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the bitstring, truncated if it is long.
func (t Bitstring) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the list, truncated if it is long.
func (t List) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the list, truncated if it is long.
func (t ImproperList) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the tuple, truncated if it is long.
func (t Tuple) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the map, truncated if it is long.
func (t Map) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the record, truncated if it is long.
func (t Record) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the integer, truncated if it is long.
func (t BigInt) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the term's length.
func (t Local) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the term that it holds, truncated if it is long; for a
// Raw of more than 64 KiB only the length.
func (t Raw) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the pid.
func (t Pid) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the port identifier.
func (t Port) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the reference.
func (t Ref) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the closure, truncated if it is long.
func (t Fun) LogValue() slog.Value { return logged(t) }

// LogValue gives package slog the text of the fun.
func (t Export) LogValue() slog.Value { return logged(t) }
