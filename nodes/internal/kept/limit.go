package kept

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/internal/hush"
	"github.com/cnode-go/cnode/nodes/internal/places"
)

// DefaultLimit is how many bytes a package keeps of what one other node tells, in each of so many
// parts, if it is not told otherwise: it grows with the memory of the machine.
func DefaultLimit(parts int) int { return places.DefaultEach(parts) }

const (
	// askPause is how long somebody is not asked again who could not be kept whole after all. It
	// doubles each time, up to mostAskPause: all that somebody tells is a large message.
	askPause     = 5 * time.Second
	mostAskPause = time.Minute
)

// A Limit is how much a package keeps of what others tell: Bytes of each of them. Of what is more,
// the package keeps a part and leaves out the rest. The Limit knows by whom something is left out,
// tells of it in the log and to users, and says when to ask for it again. K tells apart who tells.
// Its methods are safe for concurrent use.
type Limit[K comparable] struct {
	Bytes  int
	option string // its name, for the log
	log    *slog.Logger
	each   hush.Each

	mu      sync.Mutex
	lacks   map[K]*lack // by who tells: those of whom something is left out, or was
	leftOut int64
}

// A lack is what is left out of what somebody tells.
type lack struct {
	node  string
	now   bool // something is left out
	asked bool // all was asked for, and nothing left out since then
	bytes int  // what is left out takes so many, or more
	pause time.Duration
	next  time.Time // before that it is not asked
}

// NewLimit makes a Limit. option is the name of the field that has set it.
func NewLimit[K comparable](bytes int, option string, log *slog.Logger) *Limit[K] {
	return &Limit[K]{Bytes: bytes, option: option, log: log, lacks: map[K]*lack{}}
}

// LeaveOut notes that so many things are left out of what somebody on a node tells. They take so
// many bytes, or more. With too few, somebody is asked in vain; with too many, never.
func (l *Limit[K]) LeaveOut(of K, node string, count, bytes int) {
	l.mu.Lock()
	one := l.lacks[of]
	if one == nil {
		one = &lack{node: node}
		l.lacks[of] = one
	}
	one.now, one.asked = true, false
	one.bytes += bytes
	l.leftOut += int64(count)
	l.mu.Unlock()
	l.each.Log(l.log, slog.LevelError, node, "a node tells of more than "+l.option+" allows: a part is left out",
		"peer", node, "limit", l.Bytes)
}

// Inherit notes that something is left out, as another process has found.
func (l *Limit[K]) Inherit(of K, node string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lacks[of] = &lack{node: node, now: true}
}

// Gone notes that something ends of which so many bytes may have been left out.
func (l *Limit[K]) Gone(of K, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.lacks[of]; one != nil {
		one.bytes = max(one.bytes-bytes, 0)
	}
}

// Left notes how many bytes what is left out takes, once that is known; 0: it is not known any
// more.
func (l *Limit[K]) Left(of K, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.lacks[of]; one != nil {
		one.bytes = bytes
	}
}

// Whole notes that nothing is left out any more.
func (l *Limit[K]) Whole(of K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.lacks[of]; one != nil {
		one.now, one.asked, one.bytes = false, false, 0
	}
}

// Forget forgets somebody who has ended.
func (l *Limit[K]) Forget(of K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.lacks, of)
}

// Lacks tells whether something is left out.
func (l *Limit[K]) Lacks(of K) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lacks[of] != nil && l.lacks[of].now
}

// Any tells whether something is left out by anybody.
func (l *Limit[K]) Any() bool {
	_, lacking := l.Count()
	return lacking > 0
}

// Fits tells whether something is left out that may fit into so many bytes.
func (l *Limit[K]) Fits(of K, room int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.lacks[of]
	return one != nil && one.now && one.bytes <= room
}

// Due tells whether it is time to ask somebody for all that it tells, of which something fits. It
// counts as asked then.
func (l *Limit[K]) Due(of K, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.lacks[of]
	if one == nil || !one.now || now.Before(one.next) {
		return false
	}
	if now.Sub(one.next) > mostAskPause {
		one.pause = 0
	}
	one.pause = min(max(2*one.pause, askPause), mostAskPause)
	one.next = now.Add(one.pause)
	one.asked, one.bytes = true, 0
	return true
}

// Asked tells whether somebody was asked for all that it tells, and nothing was left out since.
func (l *Limit[K]) Asked(of K) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lacks[of] != nil && l.lacks[of].asked
}

// Count is how many things were left out, ever, and by how many of who tells something is now.
func (l *Limit[K]) Count() (leftOut int64, lacking int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.lacks {
		if one.now {
			lacking++
		}
	}
	return l.leftOut, lacking
}

// Err is nil if nothing is left out, or joins an error for each node of which something is: what is
// attempted, and why it fails.
func (l *Limit[K]) Err(op string, why error) error {
	l.mu.Lock()
	lacking := map[string]bool{}
	for _, one := range l.lacks {
		if one.now {
			lacking[one.node] = true
		}
	}
	l.mu.Unlock()
	var all []error
	for _, node := range slices.Sorted(maps.Keys(lacking)) {
		all = append(all, &nodes.Error{Op: op, Peer: node, Err: why})
	}
	return errors.Join(all...)
}
