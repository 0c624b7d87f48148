package ei

// A Marshaler appends itself as one term, without version byte.
type Marshaler interface {
	AppendTerm(b []byte) ([]byte, error)
}

// Marshal gives the version byte followed by v as Append encodes it.
func Marshal(v any) ([]byte, error) {
	return Append([]byte{VersionMagic}, v)
}

// Append appends v, a Term or a Go value, without version byte.
func Append(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case Term:
		return AppendTerm(b, v)
	case Marshaler:
		return v.AppendTerm(b)
	case bool:
		return AppendBool(b, v), nil
	case int:
		return AppendInt(b, int64(v)), nil
	case string:
		return append(AppendBinaryHeader(b, len(v)), v...), nil
	case []byte:
		return AppendBinary(b, v), nil
	}
	return b, &UnsupportedTypeError{Value: v}
}
