package ei

func identical(a, b Term) bool                  { return Compare(a, b) == 0 }
func Compare(a, b Term) int                     { panic("not yet") }
func AppendText(b []byte, t Term) []byte        { return append(b, "..."...) }
func Parse(text string) (Term, error)           { return nil, ErrMalformed }
func (c *Cursor) Term() (Term, error)           { return nil, ErrMalformed }
func Decode(b []byte) (Term, error)             { return nil, ErrMalformed }
