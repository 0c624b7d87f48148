// Package accord has the nodes of a cluster give processes global names by chance, while
// connections between them break, processes end, and those of global itself are ended. When all are
// connected again they must agree.
package accord

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/global"
)

// Processes is how many processes each member has.
const Processes = 3

// Names are those that the members give and take.
var Names = []string{"name0", "name1", "name2"}

// A Member is a node that takes part in global. Its methods give up when ctx ends.
type Member interface {
	Name() string
	// Register gives a name to the i-th process, of which there is a new one if it has ended.
	Register(ctx context.Context, name string, i int, method global.Method) error
	Unregister(ctx context.Context, name string) error
	// Whereis has the process of each name that has one.
	Whereis(ctx context.Context) (map[string]ei.Pid, error)
	// Living are those of its processes that live.
	Living(ctx context.Context) ([]ei.Pid, error)
	// Known are the nodes that have the same names.
	Known(ctx context.Context) ([]string, error)
	// Sync waits until the member says that it has the names of all others.
	Sync(ctx context.Context) error
	// Trans holds the lock of a resource for some time.
	Trans(ctx context.Context, resource string, hold time.Duration) error
	// End ends the i-th process.
	End(i int)
	// Disturb ends processes of global's own. A node of OTP ends with them, and is left alone.
	Disturb(r *rand.Rand) string
	// Connect connects to another member, if it can.
	Connect(ctx context.Context, name string)
}

// A Cluster is a set of members, and what is between them.
type Cluster struct {
	Members []Member
	// Cut ends the connection of two members, and lets none be made until Mend. It may also let
	// nothing through, so that they notice after a time.
	Cut, Mend func(r *rand.Rand, a, b Member)
	Restart   func(i int)   // puts a new member in the place of the i-th one; nil: none can be
	Pause     time.Duration // the longest between two steps
	Limit     time.Duration // how long the members may take to agree
	// BEAM is the node of OTP among the members, if there is one. It may lack the names of a node
	// that it is connected to, as it does among nodes of OTP alone: it drops the names of a node
	// that both connect to at once. If the others agree it is connected anew, with Reconnect, once.
	BEAM      Member
	Reconnect func()
}

// A run is one with a seed.
type run struct {
	*Cluster
	r   *rand.Rand
	cut map[[2]string]bool
	log []string

	fresh int // how many new names were given
}

// Run does by chance what the seed says, and fails the test if the members do not agree in the end.
func (c *Cluster) Run(t testing.TB, seed uint64) {
	x := &run{Cluster: c, r: rand.New(rand.NewPCG(seed, 2)), cut: map[[2]string]bool{}}
	x.connect()
	for range 40 + x.r.IntN(60) {
		x.step()
	}
	for i, a := range x.Members {
		for _, b := range x.Members[:i] {
			x.mend(a, b)
		}
	}
	wrong := x.agree(x.Members)
	if wrong != "" && x.BEAM != nil && x.agree(x.others()) == "" {
		t.Logf("seed %d: the node of OTP is connected anew:\n%s", seed, wrong)
		x.Reconnect()
		wrong = x.agree(x.Members)
	}
	if wrong != "" {
		t.Errorf("seed %d: after %v:\n%s%s", seed, x.Limit, wrong, strings.Join(x.log, "\n"))
	}
}

// agree waits until some of the members agree, and returns what is wrong if they do not.
func (x *run) agree(members []Member) (wrong string) {
	for end := time.Now().Add(x.Limit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		x.connect()
		if wrong = x.differences(members); wrong == "" {
			break
		}
	}
	return wrong
}

// others are the members that are not the node of OTP.
func (x *run) others() []Member {
	return slices.DeleteFunc(slices.Clone(x.Members), func(m Member) bool { return m == x.BEAM })
}

func (x *run) note(m Member, format string, args ...any) {
	x.log = append(x.log, time.Now().Format("05.000 ")+m.Name()+" "+fmt.Sprintf(format, args...))
}

func (x *run) within(longest time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), longest)
}

// connect connects all members that can be.
func (x *run) connect() {
	for i, a := range x.Members {
		for _, b := range x.Members[:i] {
			if !x.cut[between(a, b)] {
				ctx, cancel := x.within(3 * time.Second)
				a.Connect(ctx, b.Name())
				cancel()
			}
		}
	}
}

func between(a, b Member) [2]string {
	return [2]string{min(a.Name(), b.Name()), max(a.Name(), b.Name())}
}

func (x *run) mend(a, b Member) {
	delete(x.cut, between(a, b))
	x.Mend(x.r, a, b)
}

var methods = []global.Method{global.RandomExit, global.RandomNotify, global.NotifyAll}

func (x *run) step() {
	at := x.r.IntN(len(x.Members))
	m, other := x.Members[at], x.Members[x.r.IntN(len(x.Members))]
	i, name := x.r.IntN(Processes), Names[x.r.IntN(len(Names))]
	ctx, cancel := x.within(time.Duration(50+x.r.IntN(1500)) * time.Millisecond)
	defer cancel()
	switch k := x.r.IntN(18); {
	case k < 6:
		x.note(m, "registers %s for %d: %v", name, i, m.Register(ctx, name, i, methods[x.r.IntN(len(methods))]))
	case k < 8:
		// not another node's: if the connections end meanwhile only some may have heard it, as in OTP
		if table, err := m.Whereis(ctx); err == nil && string(table[name].Node) == m.Name() {
			x.note(m, "unregisters %s: %v", name, m.Unregister(ctx, name))
		}
	case k == 8:
		m.End(i)
		x.note(m, "ends %d", i)
	case k == 9:
		x.note(m, "is disturbed: %s", m.Disturb(x.r))
	case k < 12 && m != other:
		x.cut[between(m, other)] = true
		x.Cut(x.r, m, other)
		x.note(m, "is cut off from %s", other.Name())
	case k < 14 && m != other:
		x.mend(m, other)
		x.connect()
		x.note(m, "can be connected to %s", other.Name())
	case k == 14 && x.Restart != nil && x.r.IntN(3) == 0:
		x.Restart(at)
		x.note(m, "is restarted")
	case k == 15:
		hold := time.Duration(x.r.Int64N(int64(x.Pause)))
		x.note(m, "has %s locked: %v", name, m.Trans(ctx, name, hold))
	default:
		time.Sleep(time.Duration(x.r.Int64N(int64(x.Pause))))
	}
}

// differences are those of the tables of members, and what is wrong with them; none: they agree,
// each name is that of a process that lives, and each member can give a new one, which all have
// then.
func (x *run) differences(members []Member) (text string) {
	ctx, cancel := x.within(10 * time.Second)
	defer cancel()
	is := func(format string, args ...any) { text += fmt.Sprintf(format+"\n", args...) }
	tables := map[string]map[string]ei.Pid{}
	var living []ei.Pid
	for _, m := range members {
		if err := m.Sync(ctx); err != nil {
			is("%s: %v", m.Name(), err)
		}
		known, err := m.Known(ctx)
		if err != nil || len(known) != len(x.Members)-1 {
			is("%s knows %v: %v", m.Name(), known, err)
		}
		table, err := m.Whereis(ctx)
		if err != nil {
			is("%s: %v", m.Name(), err)
		}
		tables[m.Name()] = table
	}
	for _, m := range x.Members {
		list, err := m.Living(ctx)
		if err != nil {
			is("%s: %v", m.Name(), err)
		}
		living = append(living, list...)
	}
	for _, name := range Names {
		has := map[ei.Pid][]string{}
		for _, of := range slices.Sorted(maps.Keys(tables)) {
			pid := tables[of][name]
			has[pid] = append(has[pid], of)
			if pid != (ei.Pid{}) && !slices.Contains(living, pid) {
				is("%s has %s for %v, which does not live", of, name, pid)
			}
		}
		if len(has) > 1 {
			is("%s: %v", name, has)
		}
	}
	if text != "" {
		return text
	}
	for _, m := range members {
		x.log = append(x.log, "") // what follows is of another attempt to agree
		x.fresh++                 // never the same: what came too late for an earlier attempt may have given that name
		fresh := fmt.Sprint("fresh", x.fresh)
		if err := m.Register(ctx, fresh, Processes, global.RandomExit); err != nil {
			is("%s cannot give a name: %v", m.Name(), err)
			continue
		}
		for _, other := range members {
			if table, err := other.Whereis(ctx); err != nil || table[fresh] == (ei.Pid{}) {
				is("%s lacks the new name of %s: %v", other.Name(), m.Name(), err)
			}
		}
		if err := m.Unregister(ctx, fresh); err != nil {
			is("%s cannot take a name back: %v", m.Name(), err)
		}
	}
	return text
}
