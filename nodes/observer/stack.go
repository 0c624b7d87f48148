package observer

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/otp"
)

// mostGoroutines is of how many goroutines a profile is taken at most.
const mostGoroutines = 10_000

// stack is what the process's goroutine does, as Erlang shows it: [{M, F, Arity, [{file, F}, {line,
// L}]}]. It is known with Config.ProfileLabels only; otherwise it is empty. It takes a profile of
// all goroutines, for which the program stands still for a moment.
func (b *observer) stack(d *looked) ei.List {
	if !d.isKnown {
		d.frames, d.isKnown = b.frames(d.Goroutine), true
	}
	return d.frames
}

func (b *observer) frames(process string) ei.List {
	list := ei.List{}
	if process == "" || runtime.NumGoroutine() > mostGoroutines {
		return list
	}
	var text bytes.Buffer
	if pprof.Lookup("goroutine").WriteTo(&text, 1) != nil {
		return list
	}
	label := fmt.Sprintf(`"process":%q`, process)
	for goroutine := range strings.SplitSeq(text.String(), "\n\n") {
		_, labels, ok := strings.Cut(goroutine, "\n# labels: ")
		labels, frames, _ := strings.Cut(labels, "\n")
		if !ok || !strings.Contains(labels, label) || !strings.Contains(labels, fmt.Sprintf(`"node":%q`, b.n.Name())) {
			continue
		}
		for line := range strings.SplitSeq(frames, "\n") {
			// #	0x4a	main.(*shop).call+0x1a	/src/shop.go:12
			f := strings.Fields(line)
			if len(f) != 4 || f[0] != "#" {
				continue
			}
			name, _, _ := strings.Cut(f[2], "+0x")
			dot := strings.LastIndexByte(name, '/') + 1
			dot += max(strings.IndexByte(name[dot:], '.'), 0)
			file, number, _ := strings.Cut(f[3], ":")
			n, _ := strconv.Atoi(number)
			list = append(list, ei.Tuple{ei.Atom(name[:dot]), ei.Atom(strings.TrimPrefix(name[dot:], ".")), ei.Int(0),
				ei.List{pair("file", otp.Charlist(file)), pair("line", ei.Int(n))}})
		}
		return list
	}
	return list
}
