package states

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mandatoryFields are the fields that a reader of a state must know, by record; those behind
// "given" are not always written. A field that is added here needs a feature of its own, or one
// that was added with it, in needs or StateFeatures: otherwise a process that does not know the
// field is only detected when the node stands still.
var mandatoryFields = map[string]map[string]string{
	"of the first version": {
		"Message": "1", "Link": "1 2", "Watcher": "1 2", "Watching": "1 2", "Down": "1 2", "Bonds": "1 2 3 4 5",
		"Clock": "1", "Conn": "1 2 3 4 5 6 7 8 9 10 13 14 15 16 18", "Mailbox": "1 2 6", "Name": "1",
		"Listener": "1 2", "Publication": "1 2 3", "Node": "1 2 3 4 5 6 7 8 10 11",
	},
	"of workers, " + EarlierWorker: {
		"Watching": "given 5", "Conn": "given 22 23 24 25 26 27 28", "Crossing": "1 2", "CrossMonitor": "1 2",
		"Worker": "1 2 3 4 5 6 7 8 9 10 11 12 13", "Mate": "1", "Meeting": "1 2", "LineMessage": "1 given 2",
	},
	"of fronts, cnode-demo-front-1": {
		"Front": "1 2 3 4 5 6 7", "Crewman": "1 2 3 5 6 8 10 11 given 4", "Session": "1 given 2", "Route": "1 2 3 4",
		"Held": "1 2", "Tenancy": "1 2 3",
	},
	"of fronts, cnode-demo-front-2": {"Front": "given 8"},
	FeatureWorker:                   {"Worker": "given 14"},
	FeatureWays:                     {"Worker": "given 16"},
	FeatureNodes:                    {"Mailbox": "given 7 8", "Up": "1"},
	FeatureTransports:               {"Listener": "given 4"},
	FeatureFragments: {
		"Conn": "given 33 34 35 36", "CachedAtom": "1 2", "Incoming": "1 2 3 4 5 6", "Outgoing": "1 2 3 4 5 6 7 8",
	},
	FeatureAliases:  {"Mailbox": "given 11", "Alias": "1 2"},
	FeatureHandover: {"Mailbox": "given 12 13"},
}

// Every mandatory field is listed with a feature.
func TestMandatoryFieldsHaveFeatures(t *testing.T) {
	var want []string
	for of, records := range mandatoryFields {
		if !strings.HasPrefix(of, "of ") {
			require.Contains(t, WorkerKnown(), of)
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
