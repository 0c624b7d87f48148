package otp

import (
	"maps"
	"runtime"
	"slices"

	"github.com/cnode-go/cnode/ei"
)

// ModuleInfo is what the function module_info of a module of Go answers, with one argument or none;
// nil: it has no such part. exports are the module's other functions, with their arities.
func ModuleInfo(module ei.Atom, exports map[ei.Atom]int, args []ei.Term) ei.Term {
	list := ei.List{ei.Tuple{ei.Atom("module_info"), ei.Int(0)}, ei.Tuple{ei.Atom("module_info"), ei.Int(1)}}
	for _, name := range slices.Sorted(maps.Keys(exports)) {
		list = append(list, ei.Tuple{name, ei.Int(exports[name])})
	}
	compiled := ei.List{ei.Tuple{ei.Atom("version"), Charlist(runtime.Version())}}
	info := ei.List{
		ei.Tuple{ei.Atom("module"), module}, ei.Tuple{ei.Atom("exports"), list}, ei.Tuple{ei.Atom("attributes"), ei.List{}},
		ei.Tuple{ei.Atom("compile"), compiled},
	}
	switch {
	case len(args) == 0:
		return info
	case args[0] == ei.Atom("functions"):
		return list
	}
	for _, pair := range info {
		if p := pair.(ei.Tuple); args[0] == p[0] {
			return p[1]
		}
	}
	return nil
}
