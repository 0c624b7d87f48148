package gen

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// checkPackage refuses types that the package of the output declares in another file already, as it
// does if an earlier command has written them there.
func checkPackage(output string, files map[string][]byte) error {
	folder := filepath.Dir(output)
	own := map[string]bool{filepath.Clean(output): true}
	for name := range files {
		if name != "" {
			folder = filepath.Clean(output)
			own[filepath.Join(output, name)] = true
		}
	}
	there := map[string]string{} // the files that declare types
	found, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return err
	}
	for _, path := range found {
		text, err := os.ReadFile(path)
		if own[path] || strings.HasSuffix(path, "_test.go") || err != nil {
			continue
		}
		for _, name := range typeNames(text) {
			there[name] = path
		}
	}
	for _, text := range files {
		for _, name := range typeNames(text) {
			if path := there[name]; path != "" {
				return fmt.Errorf("%s declares %s, too: name all structs and records of a package in one command", path, name)
			}
		}
	}
	return nil
}

// typeNames are the names of the types that a file declares; none of one that is no Go.
func typeNames(text []byte) (names []string) {
	f, err := parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
	if err != nil {
		return nil
	}
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.TYPE {
			for _, s := range g.Specs {
				names = append(names, s.(*ast.TypeSpec).Name.Name)
			}
		}
	}
	return slices.Clip(names)
}
