package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The page of errors has each error that a package exports: its variables Err…, and its types with
// a method Error. A name is in the chapter of its package, or has the package's name before it.
func TestErrorsPage(t *testing.T) {
	text, err := os.ReadFile("../docs/reference/errors.md")
	require.NoError(t, err)
	chapters := map[string]string{}
	for _, chapter := range strings.Split(string(text), "\n## ")[1:] {
		heading, rest, _ := strings.Cut(chapter, "\n")
		chapters[heading] = rest
	}
	count := 0
	for _, e := range exportedErrors(t) {
		count++
		if !strings.Contains(chapters[e.folder], "`"+e.name+"`") && !strings.Contains(string(text), "`"+e.pkg+"."+e.name+"`") {
			t.Errorf("%s: %s.%s is not on the page of errors", e.folder, e.pkg, e.name)
		}
	}
	require.Greater(t, count, 100)
}

// An exportedError is a variable or a type of a package, whose folder is that below the root.
type exportedError struct{ folder, pkg, name string }

func exportedErrors(t *testing.T) (found []exportedError) {
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case "internal", "cmd", "test", "examples", "testdata":
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel("..", filepath.Dir(file))
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			for _, name := range errorsOf(d) {
				found = append(found, exportedError{filepath.ToSlash(folder), f.Name.Name, name})
			}
		}
		return nil
	})
	require.NoError(t, err)
	return found
}

// errorsOf lists the errors that a declaration exports.
func errorsOf(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv != nil && d.Name.Name == "Error" && d.Type.Results.NumFields() == 1 {
			if name := typeName(d.Recv.List[0].Type); ast.IsExported(name) {
				names = append(names, name)
			}
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if v, ok := s.(*ast.ValueSpec); ok && d.Tok == token.VAR {
				for _, n := range v.Names {
					if strings.HasPrefix(n.Name, "Err") {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}
