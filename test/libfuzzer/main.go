// Libfuzzer builds each fuzz target of this module, and of contrib/front, as a program of
// libFuzzer, for ClusterFuzzLite: see .clusterfuzzlite/build.sh. The Fuzz functions live in
// files of tests, and use what is in others beside them. So the go command is told, by an
// overlay, that these files are part of their packages.
//
//	CXX=clang++ LIB_FUZZING_ENGINE=-fsanitize=fuzzer go run ./test/libfuzzer DIR [PACKAGE...]
//
// For each target it makes DIR/PACKAGE_FuzzName and DIR/PACKAGE_FuzzName_seed_corpus.zip, and for a
// package with files that its seeds are made of, DIR/PACKAGE with these. CXX, CXXFLAGS and
// LIB_FUZZING_ENGINE are the compiler, its flags and what the program is linked with.
package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/cnode-go/cnode/test/libfuzzer/target"
)

const module = "github.com/cnode-go/cnode"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: libfuzzer DIR [PACKAGE...]")
		os.Exit(2)
	}
	packages := os.Args[2:]
	if len(packages) == 0 {
		packages = []string{"./...", "./contrib/front"}
	}
	if err := build(os.Args[1], packages); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func build(out string, packages []string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	listed, err := output("go", append([]string{"list", "-json=Dir,ImportPath,TestGoFiles,XTestGoFiles"}, packages...)...)
	if err != nil {
		return err
	}
	for d := json.NewDecoder(bytes.NewReader(listed)); ; {
		var p listedPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := p.build(out); err != nil {
			return fmt.Errorf("%s: %w", p.ImportPath, err)
		}
	}
}

// A listedPackage is one as go list describes it.
type listedPackage struct {
	Dir, ImportPath           string
	TestGoFiles, XTestGoFiles []string
}

var fuzzType = regexp.MustCompile(`^Fuzz([^a-z].*)?$`)

// targets finds the Fuzz functions in files of the package.
func (p *listedPackage) targets(files []string) (names []string, err error) {
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Recv == nil && fuzzType.MatchString(d.Name.Name) {
				names = append(names, d.Name.Name)
			}
		}
	}
	return names, nil
}

// In the overlay, tests of the package itself are more files of it. Those of the package with _test
// behind its name are one below it, which may use what is internal as well.
const (
	outside = "libfuzzer_outside"
	program = "libfuzzer_program"
)

var programText = template.Must(template.New("").Parse(`package main

import (
	"testing"

	"` + module + `/test/libfuzzer/target"
{{if .Inside}}	inside "{{.Path}}"
{{end}}{{if .Outside}}	outside "{{.Path}}/` + outside + `"
{{end}})

func init() {
	target.All = []testing.InternalFuzzTarget{
{{range .Inside}}		{Name: "{{.}}", Fn: inside.{{.}}},
{{end}}{{range .Outside}}		{Name: "{{.}}", Fn: outside.{{.}}},
{{end}}	}
}

func main() {}
`))

func (p *listedPackage) build(out string) error {
	inside, err := p.targets(p.TestGoFiles)
	if err != nil {
		return err
	}
	beside, err := p.targets(p.XTestGoFiles)
	if err != nil || len(inside)+len(beside) == 0 {
		return err
	}
	work, err := os.MkdirTemp("", "libfuzzer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	short := strings.ReplaceAll(strings.TrimPrefix(p.ImportPath, module+"/"), "/", "_")

	var text bytes.Buffer
	if err := programText.Execute(&text, struct {
		Path            string
		Inside, Outside []string
	}{p.ImportPath, inside, beside}); err != nil {
		return err
	}
	mainFile, overlayFile := filepath.Join(work, "main.go"), filepath.Join(work, "overlay.json")
	overlay := map[string]string{filepath.Join(p.Dir, program, "main.go"): mainFile}
	for _, name := range p.TestGoFiles {
		overlay[filepath.Join(p.Dir, untested(name))] = filepath.Join(p.Dir, name)
	}
	for _, name := range p.XTestGoFiles {
		overlay[filepath.Join(p.Dir, outside, untested(name))] = filepath.Join(p.Dir, name)
	}
	overlaid, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(mainFile, text.Bytes(), 0o600), os.WriteFile(overlayFile, overlaid, 0o600)); err != nil {
		return err
	}
	archive := filepath.Join(work, "targets.a")
	if _, err := output("go", "build", "-overlay="+overlayFile, "-buildmode=c-archive", "-tags=libfuzzer", "-pgo=off",
		"-gcflags="+module+"/...=-d=libfuzzer", "-o="+archive, p.ImportPath+"/"+program); err != nil {
		return err
	}
	// seeds are read from there, and what the functions make of other files before they fuzz
	files := filepath.Join(out, short, "testdata")
	if err := os.RemoveAll(files); err != nil {
		return err
	}
	if err := os.MkdirAll(files, 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(files, os.DirFS(filepath.Join(p.Dir, "testdata"))); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, name := range append(inside, beside...) {
		to := filepath.Join(out, short+"_"+name)
		if err := errors.Join(link(archive, name, short, to), seeds(to)); err != nil {
			return err
		}
		fmt.Println(to)
	}
	return nil
}

// untested is the name of a file of tests as one of the package, for the same system.
func untested(name string) string { return "libfuzzer_" + strings.TrimSuffix(name, "_test.go") + ".go" }

// link makes the program to of the archive, which fuzzes the function of that name, and has its
// files in dir.
func link(archive, name, dir, to string) error {
	chosen := archive + ".cc"
	text := fmt.Appendf(nil, "const char *fuzz_target = %q;\nconst char *fuzz_package = %q;\n", name, dir)
	if err := os.WriteFile(chosen, text, 0o600); err != nil {
		return err
	}
	args := strings.Fields(os.Getenv("CXXFLAGS"))
	args = append(args, chosen, archive)
	args = append(args, strings.Fields(os.Getenv("LIB_FUZZING_ENGINE"))...)
	_, err := output(cmp.Or(os.Getenv("CXX"), "clang++"), append(args, "-o", to)...)
	return err
}

// seeds writes the seeds of a target, which it knows itself, beside it.
func seeds(program string) error {
	dir, err := os.MkdirTemp("", "libfuzzer")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c := exec.Command(program)
	c.Env = append(os.Environ(), target.SeedsVariable+"="+dir)
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("seeds of %s: %w\n%s", program, err, said)
	}
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	if err := errors.Join(z.AddFS(os.DirFS(dir)), z.Close()); err != nil {
		return err
	}
	return os.WriteFile(program+"_seed_corpus.zip", packed.Bytes(), 0o644)
}

func output(name string, args ...string) ([]byte, error) {
	var said bytes.Buffer
	c := exec.Command(name, args...)
	c.Stderr = &said
	b, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, said.Bytes())
	}
	return b, nil
}
