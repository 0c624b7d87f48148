package test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/cnode-go/cnode"

// nameless are words that say nothing about what is in a package or a file.
var nameless = strings.Fields("util utils common core manager helper helpers misc base shared")

// A row is a line of testdata/imports.txt, which says what one package may import: by paths below
// the module, and by modules outside of it.
type row struct {
	path    string
	may     []string
	tests   []string // besides may, in its tests
	without []string // parts of the standard library that it must not have
}

// readPicture reads testdata/imports.txt.
func readPicture(t *testing.T) (picture []row) {
	text, err := os.ReadFile("testdata/imports.txt")
	require.NoError(t, err)
	lists := map[string][]string{}
	var to *[]string // what the words of the next line belong to
	for line := range strings.Lines(string(text)) {
		what, rest, colon := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case what == "" || line[0] == '#':
			continue
		case line[0] != '\t':
			picture = append(picture, row{path: what})
			to = &picture[len(picture)-1].may
		case what == "tests" && colon:
			to = &picture[len(picture)-1].tests
		case what == "without" && colon:
			to = &picture[len(picture)-1].without
		default:
			rest = what
		}
		for word := range strings.FieldsSeq(rest) {
			if word[0] == '$' {
				require.Contains(t, lists, word)
				*to = append(*to, lists[word]...)
			} else {
				*to = append(*to, word)
			}
		}
		if last := picture[len(picture)-1]; last.path[0] == '$' {
			lists[last.path] = last.may
		}
	}
	picture = slices.DeleteFunc(picture, func(r row) bool { return r.path[0] == '$' })
	for i := range picture {
		picture[i].tests = append(picture[i].tests, lists["$everytest"]...)
	}
	return picture
}

// A source is one Go file, whatever system it is for.
type source struct {
	path    string // below the module's root
	imports []string
}

func (s source) pkg() string { return path.Dir(s.path) }

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func TestImports(t *testing.T) {
	sources, err := read("..")
	require.NoError(t, err)
	require.NotEmpty(t, sources)
	require.Empty(t, check(readPicture(t), sources))
}

// Imports point down only: what a row may import stands above it.
func TestPictureHasNoArrowUp(t *testing.T) {
	var above []string
	for _, r := range readPicture(t) {
		for _, own := range r.may {
			if first, _, _ := strings.Cut(own, "/"); own == "C" || strings.Contains(first, ".") {
				continue
			}
			require.Contains(t, above, own, "%s imports %s", r.path, own)
			require.NotEqual(t, "transport/transporttest", own, "%s imports the suite outside a test", r.path)
		}
		above = append(above, r.path)
	}
}

// read finds the Go files below root as the go command would, and those for other
// systems as well. That is why it parses them itself. (And a test that lets the
// go command read them is cached although they have changed.)
func read(root string) ([]source, error) {
	var sources []source
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skip(root, file, d.Name())
		}
		if filepath.Ext(file) != ".go" {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		s := source{path: filepath.ToSlash(below)}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, imported)
		}
		sources = append(sources, s)
		return nil
	})
	return sources, err
}

// skip returns fs.SkipDir for a folder that is no part of the picture: those of the modules that
// go.work names are.
func skip(root, dir, name string) error {
	if dir == root {
		return nil
	}
	if isNoCode(name) {
		return fs.SkipDir
	}
	for _, other := range []string{"cmd", "contrib/front", "test/bench", "test/interop", "transport/tsocket"} {
		if dir == filepath.Join(root, other) {
			return nil
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// isNoCode tells directories whose Go files are none of the project's by their names.
func isNoCode(name string) bool {
	return name == "testdata" || name == "vendor" || name != ".." && strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")
}

// check returns a line for each thing that the picture does not show.
func check(picture []row, sources []source) []string {
	var wrong []string
	for _, s := range sources {
		wrong = append(wrong, names(s)...)
		r, ok := rowOf(picture, s.pkg())
		if !ok {
			wrong = append(wrong, fmt.Sprintf("%s: the package %s is not in the picture", s.path, s.pkg()))
			continue
		}
		for _, imported := range s.imports {
			if !r.allows(imported, s.isTest()) {
				wrong = append(wrong, fmt.Sprintf("%s imports %s", s.path, strings.TrimPrefix(imported, module+"/")))
			}
		}
	}
	return wrong
}

func names(s source) []string {
	var wrong []string
	words := strings.Split(strings.TrimSuffix(strings.TrimSuffix(s.path, ".go"), "_test"), "/")
	for _, word := range words {
		if slices.Contains(nameless, word) {
			wrong = append(wrong, fmt.Sprintf("%s: %s says nothing", s.path, word))
		}
	}
	return wrong
}

// rowOf is the row of a package, or else that of all below a folder.
func rowOf(picture []row, pkg string) (room row, ok bool) {
	for _, r := range picture {
		if r.path == pkg {
			return r, true
		}
		if folder, all := strings.CutSuffix(r.path, "..."); all && strings.HasPrefix(pkg, folder) {
			room, ok = r, true
		}
	}
	return room, ok
}

func (r row) allows(imported string, inTest bool) bool {
	may := r.may
	if inTest {
		may = slices.Concat(may, r.tests, []string{r.path})
	}
	if own, ok := strings.CutPrefix(imported, module+"/"); ok {
		return slices.Contains(may, own)
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") && imported != "C" {
		return inTest || !slices.Contains(r.without, first)
	}
	return slices.ContainsFunc(may, func(m string) bool {
		return imported == m || strings.HasPrefix(imported, m+"/")
	})
}
