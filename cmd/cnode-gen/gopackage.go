package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// A goFile is a file of the package of the output, but for what this command writes.
type goFile struct {
	path  string
	types []goType
}

// A goType is a type that a file declares.
type goType struct {
	name   string
	line   int
	module ei.Atom // of its tag struct=; "": it has none
}

// otherFiles reads the package of an output.
func otherFiles(output string, own func(path string) bool) (files []goFile, err error) {
	folder := filepath.Dir(output)
	if strings.HasSuffix(output, "/") {
		folder = filepath.Clean(output)
	}
	found, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, path := range found {
		text, err := os.ReadFile(path)
		if own(path) || strings.HasSuffix(path, "_test.go") || err != nil {
			continue
		}
		files = append(files, goFile{path, typesOf(text)})
	}
	return files, nil
}

// structTypes are the types that other files of the output's package declare for structs of Elixir.
// What this command has written into the output's folder is written anew.
func structTypes(output string) (map[ei.Atom]string, error) {
	files, err := otherFiles(output, func(path string) bool {
		return path == filepath.Clean(output) || strings.HasSuffix(output, "/") && checkOutput(path) == nil
	})
	there := map[ei.Atom]string{}
	for _, f := range files {
		for _, t := range f.types {
			if t.module != "" {
				there[t.module] = t.name
			}
		}
	}
	return there, err
}

// checkPackage refuses types that the package of the output declares in another file already.
func checkPackage(output string, files map[string][]byte) error {
	others, err := otherFiles(output, func(path string) bool {
		_, isOwn := files[filepath.Base(path)]
		return isOwn || path == filepath.Clean(output)
	})
	if err != nil {
		return err
	}
	for name, text := range files {
		for _, t := range typesOf(text) {
			for _, f := range others {
				if i := slices.IndexFunc(f.types, func(o goType) bool { return o.name == t.name }); i >= 0 {
					return fmt.Errorf("%s:%d would declare %s, as %s:%d does: name all structs and records of a package in one command",
						filepath.Join(output, name), t.line, t.name, f.path, f.types[i].line)
				}
			}
		}
	}
	return nil
}

// typesOf are the types that a file declares; none of one that is no Go.
func typesOf(text []byte) (all []goType) {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, "", text, parser.SkipObjectResolution)
	if err != nil {
		return nil
	}
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.TYPE {
			for _, s := range g.Specs {
				t := s.(*ast.TypeSpec)
				all = append(all, goType{t.Name.Name, files.Position(t.Pos()).Line, structTag(t.Type)})
			}
		}
	}
	return slices.Clip(all)
}

// structTag is the module that the blank field of a struct names.
func structTag(t ast.Expr) ei.Atom {
	s, ok := t.(*ast.StructType)
	if !ok || len(s.Fields.List) == 0 || s.Fields.List[0].Tag == nil || fmt.Sprint(s.Fields.List[0].Names) != "[_]" {
		return ""
	}
	tag, _ := strconv.Unquote(s.Fields.List[0].Tag.Value)
	for option := range strings.SplitSeq(reflect.StructTag(tag).Get("ei"), ",") {
		if module, ok := strings.CutPrefix(option, "struct="); ok {
			return ei.Atom(module)
		}
	}
	return ""
}
