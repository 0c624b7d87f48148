package test

import (
	"flag"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What each public package exports, on Linux, is in testdata/api, so that a change of a name, or of
// a type, is seen in the change that makes it.
var writeAPI = flag.Bool("api", false, "write testdata/api anew")

const apiFolder = "testdata/api"

func TestAPI(t *testing.T) {
	private := regexp.MustCompile("/(internal|cmd|docs|examples|test)(/|$)")
	public := slices.DeleteFunc(goList(t, "{{.ImportPath}}", "./..."), private.MatchString)
	exports := map[string]string{}
	for _, line := range goList(t, "{{.ImportPath}} {{.Export}}", append([]string{"-export", "-deps"}, public...)...) {
		path, file, _ := strings.Cut(line, " ")
		exports[path] = file
	}
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	if *writeAPI {
		require.NoError(t, os.RemoveAll(apiFolder))
		require.NoError(t, os.MkdirAll(apiFolder, 0o755))
	}
	for _, path := range public {
		t.Run(path, func(t *testing.T) {
			pkg, err := imports.Import(path)
			require.NoError(t, err)
			file := filepath.Join(apiFolder, strings.ReplaceAll(strings.TrimPrefix(path, module+"/"), "/", ".")+".txt")
			if *writeAPI {
				require.NoError(t, os.WriteFile(file, []byte(exported(pkg)), 0o644))
			}
			before, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(before), exported(pkg), "it exports something else; if it should: go test ./test -run API -api")
		})
	}
	files, err := os.ReadDir(apiFolder)
	require.NoError(t, err)
	require.Len(t, files, len(public), "a package has gone: go test ./test -run API -api")
}

// goList is what go list says for Linux, by lines. Nothing is optimised for a profile, as commands
// are: their packages have other export data.
func goList(t *testing.T, format string, args ...string) []string {
	cmd := exec.Command("go", append([]string{"list", "-pgo=off", "-f", format}, args...)...)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "GOOS=linux")
	out, err := cmd.Output()
	require.NoError(t, err)
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// exported is the text of what a package exports, by name; types have their methods behind them.
func exported(pkg *types.Package) string {
	w := &apiWriter{short: func(p *types.Package) string {
		if p == pkg {
			return ""
		}
		return p.Name()
	}}
	for _, name := range slices.DeleteFunc(pkg.Scope().Names(), func(s string) bool { return !token.IsExported(s) }) { // they are sorted
		switch obj := pkg.Scope().Lookup(name).(type) {
		case *types.TypeName:
			w.typeName(obj)
		case *types.Const:
			fmt.Fprintln(w, strings.Replace(w.text(obj), " untyped int", "", 1)+" = "+obj.Val().ExactString())
		default:
			fmt.Fprintln(w, w.text(obj))
		}
	}
	return w.String()
}

type apiWriter struct {
	strings.Builder
	short types.Qualifier
}

// resultName is what the compiler calls the result of a function that ranges over one.
var resultName = regexp.MustCompile(`\(#rv1 (.*)\)$`)

func (w *apiWriter) text(obj types.Object) string {
	return resultName.ReplaceAllString(types.ObjectString(obj, w.short), "$1")
}

// typeName writes a type. One that stands for a type of an internal package is written as that one.
func (w *apiWriter) typeName(obj *types.TypeName) {
	whole := w.text(obj)
	t := types.Unalias(obj.Type())
	if obj.IsAlias() {
		fmt.Fprintln(w, whole)
		if n, ok := t.(*types.Named); !ok || !strings.Contains(n.Obj().Pkg().Path(), "/internal/") {
			return
		}
		whole = "type " + obj.Name() + " " + types.TypeString(t.Underlying(), w.short)
	}
	var members []string
	hidden := false
	member := func(m types.Object, prefix, tag string) {
		if hidden = hidden || !m.Exported(); m.Exported() {
			members = append(members, strings.TrimSpace(strings.TrimPrefix(w.text(m), prefix)+" "+tag))
		}
	}
	s, isStruct := t.Underlying().(*types.Struct)
	if isStruct {
		for i := range s.NumFields() {
			member(s.Field(i), "field ", s.Tag(i))
		}
	} else if i, ok := t.Underlying().(*types.Interface); ok {
		for m := range i.Methods() {
			member(m, "func ("+types.TypeString(m.Signature().Recv().Type(), w.short)+").", "")
		}
	}
	if hidden {
		members = append(members, "// and what is not exported")
	}
	if members != nil {
		whole = whole[:strings.IndexByte(whole, '{')] + " {\n\t" + strings.Join(members, "\n\t") + "\n}"
	}
	fmt.Fprintln(w, whole)
	if types.IsInterface(t) {
		return
	}
	var methods []string // but those of exported fields
	for m := range types.NewMethodSet(types.NewPointer(t)).Methods() {
		embedded := isStruct && len(m.Index()) > 1 && s.Field(m.Index()[0]).Exported()
		if m.Obj().Exported() && !embedded {
			methods = append(methods, strings.Replace(w.text(m.Obj()), ").", ") ", 1))
		}
	}
	if slices.Sort(methods); methods != nil {
		fmt.Fprintln(w, strings.Join(methods, "\n"))
	}
}
