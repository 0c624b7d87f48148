package gofunc

import (
	"runtime"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// NameOf names a function by its package and its name there, by where it begins.
func NameOf(code uintptr) (module, name ei.Atom) {
	f := runtime.FuncForPC(code)
	if f == nil {
		return "", ""
	}
	text := strings.TrimSuffix(f.Name(), "-fm")
	dot := strings.LastIndexByte(text, '/') + 1
	dot += max(strings.IndexByte(text[dot:], '.'), 0)
	return ei.Atom(text[:dot]), ei.Atom(strings.TrimPrefix(text[dot:], "."))
}
