package global

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/nodes"
)

// A holding is a name in one partition.
type holding struct {
	at     int // the member
	method Method
	box    *nodes.Mailbox
}

// Two partitions of two nodes each, with names by chance, become one: each name has the process
// that the method says, and whoever has lost it was told, or ended, as the method says.
func TestModelOfConflicts(t *testing.T) {
	methods := []Method{RandomExit, RandomNotify, NotifyAll, {"shop", "his"}, {"shop", "own"}}
	names := []string{"a@test", "b@test", "c@test", "d@test"}
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 7))
			w := newWorld(t)
			order := r.Perm(4) // the first two are one partition
			var ms [4]member
			for i, name := range names {
				ms[i] = w.member(t, name, nil)
				ms[i].n.Expose("shop", "his", nodes.FuncOf(func(_, his, _ ei.Term) ei.Term { return his }))
				ms[i].n.Expose("shop", "own", nodes.FuncOf(func(_, _, own ei.Term) ei.Term { return own }))
			}
			connect := func(i, j int) {
				_, err := ms[i].n.Connect(within(t), names[j])
				require.NoError(t, err)
			}
			connect(order[0], order[1])
			connect(order[2], order[3])
			for i := range ms {
				require.NoError(t, ms[i].Sync(within(t)))
			}
			var tables [2]map[string]*holding
			for side := range tables {
				tables[side] = map[string]*holding{}
				for k := range 6 {
					if r.IntN(3) == 0 {
						continue
					}
					h := &holding{at: order[2*side+r.IntN(2)], method: methods[r.IntN(len(methods))]}
					h.box = ms[h.at].process(t)
					name := fmt.Sprintf("n%d", k)
					require.NoError(t, ms[h.at].Register(within(t), name, h.box, h.method))
					tables[side][name] = h
				}
			}
			i, j := order[r.IntN(2)], order[2+r.IntN(2)]
			connect(i, j)
			lesser := 0
			if names[j] < names[i] {
				lesser = 1
			}
			for k := range ms {
				eventually(t, func() bool { return len(ms[k].Known()) == 3 })
			}
			for k := range 6 {
				name := fmt.Sprintf("n%d", k)
				own, his := tables[lesser][name], tables[1-lesser][name]
				keeper := own
				switch {
				case own == nil:
					keeper = his
				case his == nil:
				case own.method == NotifyAll:
					keeper = nil
				case own.method.Function == "his" || own.method.Module == "global" && names[his.at] < names[own.at]:
					keeper = his
				}
				for m := range ms {
					eventually(t, func() bool {
						pid, ok := ms[m].Whereis(name)
						return ok == (keeper != nil) && (keeper == nil || pid == keeper.box.Pid())
					})
				}
				if own == nil || his == nil {
					continue
				}
				for _, h := range []*holding{own, his} {
					switch loses := h != keeper; {
					case loses && own.method == RandomExit:
						<-h.box.Done()
						var exit *nodes.ExitError
						require.True(t, errors.As(h.box.Err(), &exit))
					case loses && (own.method == RandomNotify || own.method == NotifyAll):
						told := cluster.Receive(t, h.box)
						require.Equal(t, []ei.Term{a("global_name_conflict"), a(name)}, []ei.Term(told.(ei.Tuple)[:2]))
					default:
						require.NoError(t, h.box.Err())
					}
				}
			}
			// and what they are, they stay
			works(t, ms[order[0]], ms[order[3]], "after")
		})
	}
}
