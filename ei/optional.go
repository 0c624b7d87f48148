package ei

// An Optional is a value that may be absent: in Erlang undefined, in Elixir nil. Unmarshal takes
// both for an absent one; Marshal writes undefined, or what the struct that it is a field of says
// (see Append). A pointer does the same; an Optional needs no allocation, and tells a false or 0
// from nothing.
type Optional[T any] struct {
	Value T    // the zero value when it is absent
	Valid bool // it is there
}

// Some gives an Optional that is there.
func Some[T any](v T) Optional[T] { return Optional[T]{Value: v, Valid: true} }

// A Result is what most functions of Erlang and Elixir return: {ok, Value}, or {error, Reason}. As
// a Result[struct{}] it is ok, or {error, Reason}.
//
// Unmarshal takes ok alone for any T, and leaves Value zero; a reason, as of {error, Reason} or of
// error alone, is a *ReasonError in Err. Marshal writes {error, Reason} when Err is not nil: for an
// error with a method Term() Term (a *ReasonError, an *elixir.Exception) with that term, for any
// other one with its text, a binary.
type Result[T any] struct {
	Value T     // of {ok, Value}
	Err   error // of {error, Reason}; nil for ok
}

// A ReasonError is the reason of an Erlang error as a Go error.
type ReasonError struct {
	Reason Term // any term: not_found, {badmatch, 1}
}

// Error gives the text of the reason, or its beginning.
func (e *ReasonError) Error() string { return Brief(e.Reason, maxLogged) }

// Term gives the reason.
func (e *ReasonError) Term() Term { return e.Reason }
