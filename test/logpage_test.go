package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// logs are the methods that write a line which somebody may have to look up, and which argument is
// its text; -1: the first text among them.
var logs = map[string]int{"Warn": 0, "Error": 0, "Complain": 1, "mishap": 0, "guarded": 0, "tell": 1, "Log": -1, "refuse": 0}

// Each warning and error that the packages of a node log is on the page of troubleshooting, by the
// beginning of its text.
func TestLogPage(t *testing.T) {
	text, err := os.ReadFile("../docs/operate/troubleshooting.md")
	require.NoError(t, err)
	page := strings.Join(strings.Fields(string(text)), " ")
	count := 0
	for _, root := range []string{"../nodes", "../transport", "../tlstransport", "../contrib"} {
		require.NoError(t, filepath.WalkDir(root, func(file string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") || strings.Contains(file, "nodestest") {
				return err
			}
			for _, line := range logged(t, file) {
				count++
				begin := line
				if words := strings.Fields(line); len(words) > 5 {
					begin = strings.TrimRight(strings.Join(words[:5], " "), ",:;")
				}
				if !strings.Contains(page, begin) {
					t.Errorf("%s logs %q, which is not on the page", file, line)
				}
			}
			return nil
		}))
	}
	require.Greater(t, count, 80)
}

// logged gives the texts that a file logs as warnings or errors.
func logged(t *testing.T, file string) (lines []string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	ast.Inspect(parsed, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		at, ok := logs[method.Sel.Name]
		if !ok {
			return true
		}
		for i, arg := range call.Args {
			if line := literal(arg); line != "" && (at == i || at < 0) {
				lines = append(lines, line)
				break
			}
		}
		return true
	})
	return lines
}

// literal is the text with which an expression begins, if it is one of several words.
func literal(e ast.Expr) string {
	for {
		sum, ok := e.(*ast.BinaryExpr)
		if !ok {
			break
		}
		e = sum.X
	}
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	line, err := strconv.Unquote(lit.Value)
	if err != nil || !strings.Contains(strings.TrimSpace(line), " ") {
		return ""
	}
	return strings.TrimSpace(line)
}
