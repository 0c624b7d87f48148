package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documents are those that name files, functions and options of the code.
func documents(t *testing.T) []string {
	var pages []string
	require.NoError(t, filepath.WalkDir("../docs", func(file string, _ os.DirEntry, err error) error {
		if filepath.Ext(file) == ".md" {
			pages = append(pages, file)
		}
		return err
	}))
	return append(pages, "../README.md", "../CHANGELOG.md", "../CONTRIBUTING.md", "../SECURITY.md", "../RELEASE.md", "../test/bench/README.md")
}

// TestDocs compares the documents with the code: what they name between back-quotes must exist. A
// file without a folder is in the folder of the file that its chapter has named before it; a word
// after a file is declared in that file.
func TestDocs(t *testing.T) {
	code := parseCode(t, "..")
	for _, name := range documents(t) {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		code.reader = ""
		if step, ok := strings.CutPrefix(filepath.ToSlash(name), "../docs/tutorial/"); ok { // whose files are the reader's
			code.reader = "examples/tutorial/" + strings.TrimSuffix(step, ".md")
		}
		for _, wrong := range code.check(string(text)) {
			t.Errorf("%s: %s", name, wrong)
		}
	}
}

// The files that a package's comment names exist: in the package's folder, or in that of the file
// before.
func TestPackageCommentsNameFiles(t *testing.T) {
	code, named := parseCode(t, ".."), 0
	for file := range code.files {
		if path.Base(file) != "doc.go" {
			continue
		}
		text, err := os.ReadFile("../" + file)
		require.NoError(t, err)
		own := path.Dir(file)
		folder := own
		for _, name := range wordOfFile.FindAllString(string(text), -1) {
			named++
			if dir := path.Dir(name); dir != "." {
				folder = dir
			}
			name = path.Base(name)
			if !code.hasFile(path.Join(own, name)) && !code.hasFile(path.Join(folder, name)) {
				t.Errorf("%s: no file %s", file, name)
			}
		}
	}
	require.NotZero(t, named)
}

// code is what the documents may name.
type code struct {
	files map[string]map[string]bool // what each declares
	// exported: "Name", "Type.Member", "package.Name", "package.Type.Member"
	names    map[string]bool
	packages []string
	reader   string // where the files are that the reader of a page writes
}

var (
	fence  = regexp.MustCompile("(?ms)^```.*?^```$")
	quoted = regexp.MustCompile("`([^`\n]+)`(?: ([A-Za-z]\\w*)(?:[,;.|)]| →| \\||$))?")
	// A file named in a comment, without quotes.
	wordOfFile = regexp.MustCompile(`\b[\w/.*-]+\.go\b`)
	fileName   = regexp.MustCompile(`^[\w/.*-]+\.go$`)
	// A name has a lower-case letter, unlike environment variables, and each of its parts begins with
	// a capital.
	codeName = regexp.MustCompile(`^(?:[a-z]+\.)?[A-Z]\w*(?:\.[A-Z]\w*)*$`)
)

// check lists what a document names wrongly.
func (c *code) check(text string) (wrong []string) {
	text = fence.ReplaceAllString(text, "")
	for _, chapter := range strings.Split(text, "\n## ") {
		folder := ""
		for _, m := range quoted.FindAllStringSubmatch(strings.ReplaceAll(chapter, "\n", " "), -1) {
			named, behind := m[1], m[2]
			switch {
			case fileName.MatchString(named):
				if dir := path.Dir(named); dir != "." {
					folder = dir
				} else if folder == "" {
					wrong = append(wrong, named+": in which folder?")
					continue
				}
				named = path.Join(folder, path.Base(named))
				if !c.hasFile(named) && !c.hasFile(path.Join(c.reader, named)) {
					wrong = append(wrong, "no file "+named)
				} else if behind != "" && !c.files[named][behind] {
					wrong = append(wrong, named+" declares no "+behind)
				}
			case codeName.MatchString(named) && strings.ToUpper(named) != named:
				first, _, _ := strings.Cut(named, ".")
				ours := strings.ToLower(first) != first || slices.Contains(c.packages, first)
				if ours && !c.names[named] {
					wrong = append(wrong, "no "+named)
				}
			}
		}
	}
	return wrong
}

// hasFile tells whether there is a file of a name, which may be a pattern.
func (c *code) hasFile(name string) bool {
	for file := range c.files {
		if ok, _ := path.Match(name, file); ok {
			return true
		}
	}
	return false
}

// parseCode reads the declarations of all files of the module, but not of its tests.
func parseCode(t *testing.T, root string) *code {
	c := &code{files: map[string]map[string]bool{}, names: map[string]bool{}}
	require.NoError(t, filepath.WalkDir(root, func(file string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(file, ".ex") {
			return c.parseElixir(file)
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		declared := map[string]bool{}
		c.files[filepath.ToSlash(rel)] = declared
		if strings.HasSuffix(file, "_test.go") {
			return nil
		}
		if len(f.Decls) > 0 { // else the package has only tests, and its name may be that of one in the standard library
			c.packages = append(c.packages, f.Name.Name)
		}
		declare := func(names ...string) {
			declared[names[len(names)-1]] = true
			c.names[strings.Join(names, ".")] = true
			c.names[f.Name.Name+"."+strings.Join(names, ".")] = true
			c.names[names[len(names)-1]] = true
		}
		for _, d := range f.Decls {
			declareAll(d, declare)
		}
		ast.Inspect(f, func(n ast.Node) bool { // Callbacks{Accept: …}
			if kv, ok := n.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok {
					declared[key.Name] = true
				}
			}
			return true
		})
		return nil
	}))
	require.NotEmpty(t, c.files)
	return c
}

// parseElixir reads the names of a file's modules.
func (c *code) parseElixir(file string) error {
	text, err := os.ReadFile(file)
	for _, module := range regexp.MustCompile(`(?m)^ *defmodule ([\w.]+)`).FindAllStringSubmatch(string(text), -1) {
		c.names[module[1]] = true
	}
	return err
}

// declareAll calls declare with everything that d declares: a name, or a type and a member.
func declareAll(d ast.Decl, declare func(names ...string)) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			declare(d.Name.Name)
		} else {
			declare(typeName(d.Recv.List[0].Type), d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				for _, n := range s.Names {
					declare(n.Name)
				}
			case *ast.TypeSpec:
				declare(s.Name.Name)
				var members *ast.FieldList
				switch t := s.Type.(type) {
				case *ast.StructType:
					members = t.Fields
				case *ast.InterfaceType:
					members = t.Methods
				}
				if members == nil {
					continue
				}
				for _, m := range members.List {
					for _, n := range m.Names {
						declare(s.Name.Name, n.Name)
					}
				}
			}
		}
	}
}

// typeName gives the name of a receiver's type.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
