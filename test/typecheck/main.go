// Typecheck reads the sources of packages and of their tests as another system would compile them,
// and prints what does not fit:
//
//	go run ./test/typecheck windows/amd64 work
//
// Go vet tells the same, but compiles all that is imported first, the standard library among it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A listed package is what go list says of it.
type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	ImportMap  map[string]string
	DepOnly    bool
	Module     *struct{ GoVersion string }
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: typecheck GOOS/GOARCH PACKAGE...")
		os.Exit(2)
	}
	faults, err := check(os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "typecheck for %s: %v\n", os.Args[1], err)
	}
	if err != nil || faults > 0 {
		os.Exit(1)
	}
}

// check prints what is wrong with packages, and says how much that is.
func check(system string, patterns []string) (faults int, err error) {
	goos, arch, _ := strings.Cut(system, "/")
	// with a profile a command has packages of its own
	list := exec.Command("go", append([]string{"list", "-deps", "-test", "-pgo=off",
		"-json=ImportPath,Dir,GoFiles,ImportMap,DepOnly,Module"}, patterns...)...)
	list.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+arch, "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	out, err := list.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err = list.Start(); err != nil {
		return 0, err
	}
	w := world{fset: token.NewFileSet(), sizes: types.SizesFor("gc", arch), checked: map[string]*types.Package{"unsafe": types.Unsafe}}
	for all := json.NewDecoder(out); ; { // what is imported comes first
		var p listed
		if err = all.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return faults, errors.Join(err, list.Wait())
		}
		found, err := w.check(p)
		if err != nil {
			return faults, errors.Join(err, list.Process.Kill(), list.Wait())
		}
		for _, f := range found {
			fmt.Printf("%s: %v\n", system, f)
		}
		faults += len(found)
	}
	return faults, list.Wait()
}

// A world has the packages that are checked.
type world struct {
	fset    *token.FileSet
	sizes   types.Sizes
	checked map[string]*types.Package
}

func (w *world) check(p listed) (found []error, err error) {
	if w.checked[p.ImportPath] != nil || strings.HasSuffix(p.ImportPath, ".test") { // go test writes that one
		return nil, nil
	}
	var files []*ast.File
	for _, name := range p.GoFiles {
		if !filepath.IsAbs(name) {
			name = filepath.Join(p.Dir, name)
		}
		f, err := parser.ParseFile(w.fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	config := types.Config{
		Importer: importer(func(path string) (*types.Package, error) {
			if other, there := p.ImportMap[path]; there {
				path = other
			}
			if q := w.checked[path]; q != nil {
				return q, nil
			}
			return nil, fmt.Errorf("%s is not there", path)
		}),
		Sizes:            w.sizes,
		IgnoreFuncBodies: p.DepOnly,
		Error: func(err error) {
			if !p.DepOnly { // others' are looked at by others
				found = append(found, err)
			}
		},
	}
	if p.Module != nil && p.Module.GoVersion != "" {
		config.GoVersion = "go" + p.Module.GoVersion
	}
	path, _, _ := strings.Cut(p.ImportPath, " ") // "a [b.test]" is a as b's tests compile it
	w.checked[p.ImportPath], _ = config.Check(path, w.fset, files, nil)
	return found, nil
}

type importer func(path string) (*types.Package, error)

func (i importer) Import(path string) (*types.Package, error) { return i(path) }
