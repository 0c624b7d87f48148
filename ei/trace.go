package ei

// Trace is a trace token of seq_trace, which a message carries that was sent while its sender was
// traced: erlang_trace. See nodes.Message.Token, and the manual of seq_trace, "Sequential Tracing".
type Trace struct {
	Flags  int64 // what is traced
	Label  Term  // an integer in C; since OTP 21 any term
	Serial int64 // the number of the message
	From   Pid   // its sender
	Prev   int64 // the number of the message before
}

// AppendTrace appends a trace token, the tuple {Flags, Label, Serial, From, Prev}: ei_encode_trace,
// byte for byte. The errors are those of AppendTerm about Label and From; b is then returned as it
// was.
func AppendTrace(b []byte, t Trace) ([]byte, error) {
	out := AppendLong(AppendTupleHeader(b, 5), t.Flags)
	var err error
	if label, ok := t.Label.(Int); ok {
		out = AppendLong(out, int64(label))
	} else if out, err = AppendTerm(out, t.Label); err != nil {
		return b, err
	}
	if out, err = AppendPid(AppendLong(out, t.Serial), t.From); err != nil {
		return b, err
	}
	return AppendLong(out, t.Prev), nil
}

// Trace reads a trace token: ei_decode_trace. Label is decoded within the default Limits.
func (c *Cursor) Trace() (t Trace, err error) {
	start := c.off
	defer func() {
		if err != nil {
			c.off, t = start, Trace{}
		}
	}()
	arity, err := c.Tuple()
	if err != nil {
		return t, err
	}
	if arity != 5 {
		return t, c.wrong(start, "trace token")
	}
	if t.Flags, err = c.Int(); err != nil {
		return t, err
	}
	if t.Label, err = c.Term(); err != nil {
		return t, err
	}
	if t.Serial, err = c.Int(); err != nil {
		return t, err
	}
	if t.From, err = c.Pid(); err != nil {
		return t, err
	}
	t.Prev, err = c.Int()
	return t, err
}
