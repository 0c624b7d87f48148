package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cnode-go/cnode/cmd/cnode-gen/internal/source"
)

// load reads a package, as the go command finds it. What it imports comes compiled, from the cache
// of builds.
func load(ctx context.Context, path string) (*source.Package, error) {
	var why strings.Builder
	where, what := "", path
	if (build.IsLocalImport(path) || filepath.IsAbs(path)) && !strings.Contains(path, "...") {
		if info, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("--go: there is no folder %s: %w", path, err)
		} else if info.IsDir() {
			where, what = path, "."
		}
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,DepOnly", "--", what)
	cmd.Stderr, cmd.Dir = &why, where // a folder may be of another module than the working directory
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w: %s", path, err, strings.TrimSpace(why.String()))
	}
	exports := map[string]string{}
	p := &source.Package{Fset: token.NewFileSet(), Info: &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{},
	}}
	var own string
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var listed struct {
			ImportPath, Dir, Export string
			GoFiles                 []string
			DepOnly                 bool
		}
		if err := d.Decode(&listed); err != nil {
			return nil, err
		}
		exports[listed.ImportPath] = listed.Export
		if listed.DepOnly {
			continue
		}
		if own != "" {
			return nil, fmt.Errorf("%s is more than one package", path)
		}
		own = listed.ImportPath
		for _, name := range listed.GoFiles {
			f, err := parser.ParseFile(p.Fset, filepath.Join(listed.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			p.Files = append(p.Files, f)
		}
	}
	conf := types.Config{Importer: importer.ForCompiler(p.Fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, errors.New("not found")
		}
		return os.Open(exports[path])
	})}
	p.Types, err = conf.Check(own, p.Fset, p.Files, p.Info)
	return p, err
}
