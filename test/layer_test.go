package test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The distribution layer reads only by Stream.ReadPDU, and writes only through a Queue, handshakes
// included.
func TestDistributionLayer(t *testing.T) {
	files, err := filepath.Glob("../nodes/*.go")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			require.Empty(t, pastTheLayer(t, file))
		}
	}
}

// pastTheLayer lists the places in a file that read or write a Stream in another way. Methods
// without a context, such as a hash's Write, do not count.
func pastTheLayer(t *testing.T, file string) []string {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	var wrong []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		name := ""
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if s := n.Sel.Name; s == "Readv" || s == "Writev" || s == "NetConn" {
				name = s
			}
		case *ast.CallExpr:
			s, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || s.Sel.Name != "Read" || len(n.Args) != 2 {
				break
			}
			if _, pointer := n.Args[1].(*ast.UnaryExpr); !pointer { // protocol.Reader's has one
				name = s.Sel.Name
			}
		}
		if name != "" {
			wrong = append(wrong, fmt.Sprintf("%v: %s", set.Position(n.Pos()), name))
		}
		return true
	})
	return wrong
}
