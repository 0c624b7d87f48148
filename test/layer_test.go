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
			require.Empty(t, pastTheLayer(t, file, nil))
		}
	}
}

// The check finds something: each of these lines reads or writes past the layer.
func TestDistributionLayerFinds(t *testing.T) {
	for line, found := range map[string]bool{
		"s.Readv(ctx, b)":                 true,
		"s.Writev(ctx, b)":                true,
		"p.s.Read(ctx, b)":                true,
		"transport.NetConn(s)":            true,
		"f := s.Writev; f(ctx, b)":        true,
		"s.ReadPDU(ctx, p.next)":          false,
		"q.Deliver(ctx, b)":               false,
		"q.Post(ctx, head, body, 0)":      false,
		"hash.Write(b)":                   false,
		"r.dist.Read(m.buf, &m.Control)":  false,
		"raw.Read(func(uintptr) bool {})": false,
	} {
		src := "package nodes; func f() { " + line + " }"
		require.Equal(t, found, len(pastTheLayer(t, "x.go", src)) > 0, line)
	}
}

// pastTheLayer lists the places in a file that read or write a Stream in another way. Methods
// without a context, such as a hash's Write, do not count.
func pastTheLayer(t *testing.T, file string, src any) []string {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, src, parser.SkipObjectResolution)
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
