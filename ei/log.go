package ei

import "log/slog"

// The handlers of package slog print a slice of bytes as its bytes, and the JSON handler prints a
// string as its text and a struct as its fields, whatever the method String gives. What a peer has
// sent may also be large, so a log gets only the beginning of its text. Hence the methods LogValue.

// maxLogged is how many bytes of a term's text go into a log.
const maxLogged = 1024

func logged(t Term) slog.Value { return slog.StringValue(Brief(t, maxLogged)) }

// LogValue gives package slog the text of a term, or its beginning if that is long; of a Raw of
// more than 64 KiB only the length.
func (t String) LogValue() slog.Value       { return logged(t) }
func (t Binary) LogValue() slog.Value       { return logged(t) }
func (t BinaryKey) LogValue() slog.Value    { return logged(t) }
func (t Bitstring) LogValue() slog.Value    { return logged(t) }
func (t List) LogValue() slog.Value         { return logged(t) }
func (t ImproperList) LogValue() slog.Value { return logged(t) }
func (t Tuple) LogValue() slog.Value        { return logged(t) }
func (t Map) LogValue() slog.Value          { return logged(t) }
func (t Record) LogValue() slog.Value       { return logged(t) }
func (t BigInt) LogValue() slog.Value       { return logged(t) }
func (t Local) LogValue() slog.Value        { return logged(t) }
func (t Raw) LogValue() slog.Value          { return logged(t) }
func (t Pid) LogValue() slog.Value          { return logged(t) }
func (t Port) LogValue() slog.Value         { return logged(t) }
func (t Ref) LogValue() slog.Value          { return logged(t) }
func (t Fun) LogValue() slog.Value          { return logged(t) }
func (t Export) LogValue() slog.Value       { return logged(t) }
