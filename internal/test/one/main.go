// Command one runs the tests that are about one source file, with -short: see test/one.sh.
//
// These are the tests of the files that are named after it (conn.go: conn_test.go,
// conn_tick_test.go), and those that mention most of what it declares. If no test mentions anything
// of it, what calls it is looked for in its place.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// mentioning is how many tests run beside those of the files named after the source.
const mentioning = 40

func main() {
	if len(os.Args) != 2 || !strings.HasSuffix(os.Args[1], ".go") || strings.HasSuffix(os.Args[1], "_test.go") {
		fmt.Fprintln(os.Stderr, "usage: test/one.sh FILE.go")
		os.Exit(2)
	}
	tests, err := About(os.Args[1])
	if err == nil && len(tests) == 0 {
		err = errors.New("no test beside it is about it; test/interop may have some")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	cmd := exec.Command("go", "test", "-short", "-run=^("+strings.Join(tests, "|")+")$", ".")
	cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Dir(os.Args[1]), os.Stdout, os.Stderr
	fmt.Printf("cd %s && %s\n", cmd.Dir, strings.Join(cmd.Args, " "))
	if err := cmd.Run(); err != nil {
		os.Exit(1)
	}
}

// A function is one of the package, or of its tests.
type function struct {
	name, file string
	mentions   map[string]bool
}

// About returns the names of the tests beside a source file that are about it.
func About(source string) ([]string, error) {
	functions, declared, err := read(source)
	if err != nil {
		return nil, err
	}
	tests := map[string]bool{}
	stem := strings.TrimSuffix(filepath.Base(source), ".go")
	for _, f := range functions {
		if f.isTest() && (f.file == stem+"_test.go" || strings.HasPrefix(f.file, stem+"_")) {
			tests[f.name] = true
		}
	}
	for range 3 {
		if found := mention(functions, declared); len(found) > 0 {
			for _, f := range found[:min(len(found), mentioning)] {
				tests[f.name] = true
			}
			break
		}
		declared = callers(functions, declared)
	}
	return slices.Sorted(maps.Keys(tests)), nil
}

// read returns the functions of a package and its tests, and what the source declares and no other
// file does.
func read(source string) ([]function, map[string]bool, error) {
	if _, err := os.Stat(source); err != nil {
		return nil, nil, err
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(source), "*.go"))
	if err != nil {
		return nil, nil, err
	}
	var functions []function
	declared, elsewhere := map[string]bool{}, map[string]bool{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return nil, nil, err
		}
		names := elsewhere
		if filepath.Base(name) == filepath.Base(source) {
			names = declared
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				names[d.Name.Name] = true
				functions = append(functions, function{d.Name.Name, filepath.Base(name), mentioned(d)})
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						names[s.Name.Name] = true
					case *ast.ValueSpec:
						for _, n := range s.Names {
							names[n.Name] = true
						}
					}
				}
			}
		}
	}
	maps.DeleteFunc(declared, func(name string, _ bool) bool { return elsewhere[name] })
	return functions, declared, nil
}

func mentioned(f *ast.FuncDecl) map[string]bool {
	names := map[string]bool{}
	if f.Body != nil {
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				names[id.Name] = true
			}
			return true
		})
	}
	return names
}

func (f function) isTest() bool {
	return strings.HasSuffix(f.file, "_test.go") && f.name != "TestMain" &&
		(strings.HasPrefix(f.name, "Test") || strings.HasPrefix(f.name, "Example") || strings.HasPrefix(f.name, "Fuzz"))
}

// mention returns the tests that mention a name, those with most of them first.
func mention(functions []function, names map[string]bool) []function {
	count := func(f function) (n int) {
		for name := range f.mentions {
			if names[name] {
				n++
			}
		}
		return n
	}
	found := slices.DeleteFunc(slices.Clone(functions), func(f function) bool { return !f.isTest() || count(f) == 0 })
	slices.SortStableFunc(found, func(a, b function) int { return cmp.Compare(count(b), count(a)) })
	return found
}

// callers returns the names of the functions that mention one of these.
func callers(functions []function, names map[string]bool) map[string]bool {
	found := map[string]bool{}
	for _, f := range functions {
		for name := range f.mentions {
			if names[name] && !f.isTest() {
				found[f.name] = true
			}
		}
	}
	return found
}
