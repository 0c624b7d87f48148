//go:build unix

package nodes

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/nodes/internal/form"
	"github.com/cnode-go/cnode/transport/handoff"
)

// mandatoryFields are the fields that who reads a state must know, by record; "given" are those that are not always written. A field that
// comes to these needs a feature of its own, or one that came with it, in needs or StateFeatures: else who does not know it finds out
// when the node stands still.
var mandatoryFields = map[string]map[string]string{
	"of the first version": {
		"messageState": "1", "linkState": "1 2", "watcherState": "1 2", "watchingState": "1 2", "downState": "1 2", "bonds": "1 2 3 4 5",
		"clockState": "1", "connState": "1 2 3 4 5 6 7 8 9 10 13 14 15 16 18", "mailboxState": "1 2 6", "nameState": "1",
		"listenerState": "1 2", "publicationState": "1 2 3", "nodeState": "1 2 3 4 5 6 7 8 10 11",
	},
	"of workers, " + earlierWorker: {
		"watchingState": "given 5", "connState": "given 22 23 24 25 26 27 28", "crossingState": "1 2", "crossMonitorState": "1 2",
		"workerState": "1 2 3 4 5 6 7 8 9 10 11 12 13", "mateState": "1", "meetState": "1 2", "wordState": "1 given 2",
	},
	"of fronts, cnode-demo-front-1": {
		"frontState": "1 2 3 4 5 6 7", "crewState": "1 2 3 5 6 8 10 11 given 4", "sessionState": "1 given 2", "routeState": "1 2 3 4",
		"heldState": "1 2", "tenancyState": "1 2 3",
	},
	"of fronts, cnode-demo-front-2": {"frontState": "given 8"},
	workerFeature:                   {"workerState": "given 14"},
	featureWays:                     {"workerState": "given 16"},
	featureNodes:                    {"mailboxState": "given 7 8", "upState": "1"},
	featureTransports:               {"listenerState": "given 4"},
}

// Who adds a mandatory field gives it a feature.
func TestMandatoryFieldsHaveFeatures(t *testing.T) {
	var want []string
	for of, records := range mandatoryFields {
		if !strings.HasPrefix(of, "of ") {
			require.Contains(t, workerKnows(), of)
		}
		for record, fields := range records {
			need := "must"
			for _, f := range strings.Fields(fields) {
				if f == "given" {
					need = f
					continue
				}
				want = append(want, record+" "+f+" "+need)
			}
		}
	}
	require.ElementsMatch(t, want, describedFields(t), "a mandatory field needs a feature: see mandatoryFields")
}

// describedFields reads the source: in each Describe, every call that names a tag and a need.
func describedFields(t *testing.T) (list []string) {
	files := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != "Describe" || f.Recv == nil {
				continue
			}
			record := f.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				for i, arg := range call.Args {
					need, ok := arg.(*ast.SelectorExpr)
					if !ok || need.Sel.Name != "Must" && need.Sel.Name != "Given" {
						continue
					}
					tag, ok := call.Args[i-1].(*ast.BasicLit)
					require.True(t, ok, "%s: a mandatory field without a plain tag", files.Position(call.Pos()))
					list = append(list, record+" "+tag.Value+" "+strings.ToLower(need.Sel.Name))
				}
				return true
			})
		}
	}
	return list
}

// What the state needs and the new owner does not know is found out before the node stands still; what it does not need is not asked for.
func TestStateFeaturesAtHello(t *testing.T) {
	w := newWorld(t, "tcp")
	n := w.started("front")
	b, err := n.NewMailbox(nil)
	require.NoError(t, err)
	for _, tt := range []struct {
		types    NodeTypes
		know     []string
		refused  bool
		unknowns []byte // beside the state
	}{
		{0, nil, false, nil},
		{AllNodes, StateFeatures(), false, nil},
		{AllNodes, nil, true, nil},
		{0, StateFeatures(), false, addField(nil, 99, form.Must, "")},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			_, err := b.MonitorNodes(tt.types)
			require.NoError(t, err)
			one, other := channelPair(t)
			taken := async(func() (handoff.Taken, error) {
				defer other.Close()
				know := handoff.Terms{Know: tt.know}
				a := handoff.Acceptance{Terms: know, Stage: func(_ context.Context, s []byte, fds []int) (handoff.Staged, error) {
					g, err := Restore(again(n), append(s, tt.unknowns...), fds)
					if err == nil {
						err = fmt.Errorf("%w: %w", errFault, g.Discard())
					}
					return nil, err
				}}
				return a.Take(w.ctx(), other)
			})
			frozen := false
			_, err = (&handoff.Offer{Needs: n.StateFeatures, Freeze: func(ctx context.Context) (handoff.Frozen, error) {
				frozen = true
				return n.Freeze(ctx)
			}}).Give(w.ctx(), one)
			theirs := arrives(t, taken, "the other side").err
			require.Error(t, theirs)
			require.Equal(t, !tt.refused, frozen, "%v", err)
			for _, err := range []error{err, theirs} {
				if tt.refused || tt.unknowns != nil { // the latter is late, but no less clear
					require.ErrorIs(t, err, handoff.ErrUnknown)
				} else {
					require.ErrorContains(t, err, errFault.Error())
				}
			}
		})
	}
}
