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
// "given" are not always written. Once a version is released a change here is a new form, with
// another name (Feature, FeatureWorker): otherwise a process that does not know a field is only
// detected when the node stands still.
var mandatoryFields = map[string]string{
	"Message": "1", "Link": "1 2", "Watcher": "1 2", "Watching": "1 2 given 5", "Down": "1 2", "Bonds": "1 2 3 4 5",
	"Clock": "1", "Conn": "1 2 3 4 5 6 7 8 9 10 13 14 15 16 18 given 22 23 24 25 26 27 28 33 34 35 36", "CachedAtom": "1 2",
	"Incoming": "1 2 3 4 5 6", "Outgoing": "1 2 3 4 5 6 7 8", "Crossing": "1 2", "CrossMonitor": "1 2", "Orphan": "1",
	"Mailbox": "1 2 6 given 7 8 11 12 13", "Name": "1", "Alias": "1 2", "Up": "1",
	"Listener": "1 2 given 4", "Publication": "1 2 3", "Node": "1 2 3 4 5 6 7 8 10 11",
	"Front": "1 2 3 4 5 6 7 given 8", "Crewman": "1 2 3 5 6 8 10 11 given 4", "Session": "1 given 2", "Route": "1 2 3",
	"Held": "1 2", "Tenancy": "1 2 3",
	"Worker": "1 2 3 4 5 6 7 8 9 10 11 12 13 15 given 14 16", "Mate": "1", "Meeting": "1 2", "LineMessage": "1 given 2",
}

// Every mandatory field is listed.
func TestMandatoryFields(t *testing.T) {
	var want []string
	for record, fields := range mandatoryFields {
		need := "must"
		for _, f := range strings.Fields(fields) {
			if f == "given" {
				need = f
				continue
			}
			want = append(want, record+" "+f+" "+need)
		}
	}
	require.ElementsMatch(t, want, describedFields(t), "another mandatory field is another form: see mandatoryFields")
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
