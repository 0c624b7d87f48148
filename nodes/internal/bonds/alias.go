package bonds

import (
	"iter"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/internal/lazymap"
)

// An Alias is how an alias of a process ends, and what it is good for.
type Alias int

// As bits, which states of nodes have too: an alias has one of the first three, and a reply alias
// of a monitor two.
const (
	Explicit    Alias = 1 << iota // it stays
	ForReply                      // it ends with the first message
	WithMonitor                   // it ends with its monitor
	Priority                      // messages with priority may come to it
)

// PutAlias makes a reference an alias.
func (b *Bonds) PutAlias(ref ei.Ref, how Alias) { b.aliases.Put(ref, how) }

// Alias tells how an alias ends; 0: it is none.
func (b *Bonds) Alias(ref ei.Ref) Alias {
	how, _ := b.aliases.Get(ref)
	return how
}

// RemoveAlias ends an alias.
func (b *Bonds) RemoveAlias(ref ei.Ref) {
	if b.aliases.Delete(ref); b.aliases.Len() == 0 {
		b.ClearAliases()
	}
}

// Aliases gives those that are active.
func (b *Bonds) Aliases() iter.Seq2[ei.Ref, Alias] { return b.aliases.All() }

// ClearAliases ends all.
func (b *Bonds) ClearAliases() { b.aliases = lazymap.Map[ei.Ref, Alias]{} }
