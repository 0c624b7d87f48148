package sys

import "strings"

// IsAbstract reports whether path is an abstract name, which has no file and may hold any bytes.
func IsAbstract(path string) bool { return AbstractNames && strings.HasPrefix(path, "@") }
