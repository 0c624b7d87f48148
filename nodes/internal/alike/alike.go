// Package alike finds what somebody may have meant who has typed a name that does not exist.
package alike

import (
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// Names tells whether two names are the same but for one place of one or two characters, two that
// are swapped, say, or for how they write words: GetPrice, get_price.
func Names(a, b string) bool {
	a, b = ei.SnakeCase(a), ei.SnakeCase(b)
	longest := max(len(a), len(b))
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	differ := max(len(a), len(b))
	return differ <= 2 && 2*differ < longest || differ == 0
}

// Modules is Names for modules: shop and Shop, which Elixir has as Elixir.Shop, are alike.
func Modules(a, b string) bool { return Names(plain(a), plain(b)) }

func plain(module string) string {
	return strings.ReplaceAll(ei.SnakeCase(strings.TrimPrefix(module, "Elixir.")), ".", "")
}
