package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/doc"
	"go/doc/comment"
	"go/format"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// findPackages makes a page of each public package, in all modules of the repository, as it is on
// Linux, and one that lists them.
func (s *site) findPackages() error {
	s.packages, s.comments = map[string]*page{}, map[string]*page{}
	found := map[string]*godoc{}
	err := filepath.WalkDir(s.root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(s.root, dir)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case rel == ".":
			return nil
		case rel == "cmd" || rel == "test" || rel == "docs" || rel == "examples" || d.Name() == "internal" || foreign(rel):
			return fs.SkipDir
		}
		g, err := parse(dir, rel)
		if g != nil {
			found[rel] = g
		}
		return err
	})
	if err != nil {
		return err
	}
	named := map[string]*godoc{}
	for _, g := range found {
		named[g.Name] = g
	}
	list := &page{file: "api/README.md", text: "# All packages\n\n"}
	for _, folder := range sorted(found) {
		g := found[folder]
		g.all, g.named = found, named
		p := &page{file: "api/" + pageOf(folder), text: g.page(s.ref), summary: g.Synopsis(g.Doc)}
		s.packages[folder] = p
		if g.commented != "" {
			s.comments[g.commented] = p
		}
		list.text += fmt.Sprintf("- [%s](%s): %s\n", folder, pageOf(folder), markdown.Replace(p.summary))
		s.add(p)
	}
	s.add(list)
	return nil
}

// pageOf is the page of a package, below api. VitePress takes no page from a folder dist.
func pageOf(folder string) string { return strings.ReplaceAll(folder, "/dist/", "/dist-") + ".md" }

var markdown = strings.NewReplacer("*", `\*`, "_", `\_`, "<", `\<`, "[", `\[`)

// A godoc is a package's documentation.
type godoc struct {
	*doc.Package
	fset      *token.FileSet
	folder    string
	commented string // the file with the package's comment
	symbols   map[string]bool
	all       map[string]*godoc // by folder
	named     map[string]*godoc // by name
	out       bytes.Buffer
}

// parse reads the package of a folder, with the examples of its tests; none if there is none, or if
// it is a command.
func parse(dir, folder string) (*godoc, error) {
	linux := build.Default
	linux.GOOS, linux.GOARCH, linux.CgoEnabled = "linux", "amd64", false
	p, err := linux.ImportDir(dir, 0)
	var none *build.NoGoError
	if errors.As(err, &none) {
		return nil, nil
	}
	if err != nil || p.Name == "main" || len(p.GoFiles) == 0 {
		return nil, err
	}
	g := &godoc{fset: token.NewFileSet(), folder: folder, symbols: map[string]bool{}}
	var files []*ast.File
	for _, list := range [][]string{p.GoFiles, p.TestGoFiles, p.XTestGoFiles} {
		for _, name := range list {
			f, err := parser.ParseFile(g.fset, filepath.Join(dir, name), nil, parser.ParseComments)
			if err != nil {
				return nil, err
			}
			if f.Doc != nil && g.commented == "" && !strings.HasSuffix(name, "_test.go") {
				g.commented = folder + "/" + name
			}
			files = append(files, f)
		}
	}
	if g.Package, err = doc.NewFromFiles(g.fset, files, module+"/"+folder); err != nil {
		return nil, err
	}
	g.values(g.Consts, g.Vars)
	g.funcs("", g.Funcs)
	for _, t := range g.Types {
		g.symbols[t.Name] = true
		g.values(t.Consts, t.Vars)
		g.funcs("", t.Funcs)
		g.funcs(t.Name+".", t.Methods)
	}
	return g, nil
}

func (g *godoc) values(lists ...[]*doc.Value) {
	for _, list := range lists {
		for _, v := range list {
			for _, name := range v.Names {
				g.symbols[name] = true
			}
		}
	}
}

func (g *godoc) funcs(prefix string, list []*doc.Func) {
	for _, f := range list {
		g.symbols[prefix+f.Name] = true
	}
}

// page is the package's documentation in Markdown.
func (g *godoc) page(ref string) string {
	fmt.Fprintf(&g.out, "# package %s\n\n`import %q`: [source](https://%s/tree/%s/%s)\n\n", g.Name, g.ImportPath, module, ref, g.folder)
	p := g.Printer()
	p.DocLinkURL = g.link
	p.HeadingLevel = 2
	g.said(p, g.Doc)
	p.HeadingLevel = 5
	g.examples(p, g.Examples)
	g.declared(p, "Constants", g.Consts)
	g.declared(p, "Variables", g.Vars)
	if len(g.Funcs) > 0 {
		g.out.WriteString("## Functions\n\n")
		g.functions(p, 3, g.Funcs)
	}
	if len(g.Types) > 0 {
		g.out.WriteString("## Types\n\n")
	}
	for _, t := range g.Types {
		fmt.Fprintf(&g.out, "### %s {#%s}\n\n", t.Name, t.Name)
		g.code(t.Decl)
		g.said(p, t.Doc)
		g.examples(p, t.Examples)
		g.declared(p, "", t.Consts)
		g.declared(p, "", t.Vars)
		g.functions(p, 4, t.Funcs)
		g.functions(p, 4, t.Methods)
	}
	return g.out.String()
}

// link is where a comment's link leads to. A field has no place of its own: its type is shown.
func (g *godoc) link(l *comment.DocLink) string {
	name := strings.TrimPrefix(l.Recv+"."+l.Name, ".")
	to, page := g, ""
	if l.ImportPath != "" && l.ImportPath != g.ImportPath {
		folder, ours := strings.CutPrefix(l.ImportPath, module+"/")
		if to = g.all[folder]; !ours || to == nil {
			return l.DefaultURL("https://pkg.go.dev")
		}
		rel, err := filepath.Rel(filepath.Dir(pageOf(g.folder)), pageOf(folder))
		if err != nil {
			panic(err) // both are below the repository
		}
		page = filepath.ToSlash(rel)
	}
	switch {
	case to.symbols[name]:
		return page + "#" + name
	case to.symbols[l.Recv]:
		return page + "#" + l.Recv
	}
	return page
}

var (
	indented = regexp.MustCompile(`(?m)(?:^\t.*\n)(?:\n*^\t.*\n)*`)
	tab      = regexp.MustCompile(`(?m)^\t`)
	document = regexp.MustCompile(`\bdocs/[\w/-]+\.md\b`)
)

// said writes a comment. What is set off in it becomes a block that can be scrolled, and the name
// of a document a link.
func (g *godoc) said(p *comment.Printer, text string) {
	parsed := g.Parser().Parse(text)
	g.linkNames(parsed.Content)
	text = string(p.Markdown(parsed))
	text = document.ReplaceAllString(text, "[$0]("+strings.Repeat("../", 1+strings.Count(g.folder, "/"))+"$0)")
	g.out.WriteString(indented.ReplaceAllStringFunc(text, func(code string) string {
		return "```text\n" + tab.ReplaceAllString(code, "") + "```\n"
	}))
	g.out.WriteString("\n")
}

// linkNames makes links of names in a comment that can be nothing else: those of other packages, of
// methods and fields, and of errors.
func (g *godoc) linkNames(blocks []comment.Block) {
	for _, b := range blocks {
		switch b := b.(type) {
		case *comment.Paragraph:
			b.Text = g.linked(b.Text)
		case *comment.List:
			for _, i := range b.Items {
				g.linkNames(i.Content)
			}
		}
	}
}

var mention = regexp.MustCompile(`\b(?:([a-z]\w*)\.)?([A-Z]\w*)(?:\.([A-Z]\w*))?\b`)

func (g *godoc) linked(list []comment.Text) (out []comment.Text) {
	for _, t := range list {
		plain, ok := t.(comment.Plain)
		if !ok {
			out = append(out, t)
			continue
		}
		for {
			at := mention.FindStringSubmatchIndex(string(plain))
			if at == nil {
				break
			}
			m := mention.FindStringSubmatch(string(plain))
			of := g
			if m[1] != "" {
				of = g.named[m[1]]
			}
			word := comment.Plain(m[0])
			if of != nil && of.symbols[m[2]] && (m[1] != "" || m[3] != "" || strings.HasPrefix(m[2], "Err")) {
				l := &comment.DocLink{Text: []comment.Text{word}, ImportPath: of.ImportPath, Name: m[2]}
				if m[3] != "" {
					l.Recv, l.Name = m[2], m[3]
				}
				out = append(out, plain[:at[0]], l)
			} else {
				out = append(out, plain[:at[1]])
			}
			plain = plain[at[1]:]
		}
		out = append(out, plain)
	}
	return out
}

// declared writes constants or variables. Each of their names can be linked to.
func (g *godoc) declared(p *comment.Printer, title string, list []*doc.Value) {
	if len(list) > 0 && title != "" {
		fmt.Fprintf(&g.out, "## %s\n\n", title)
	}
	for _, v := range list {
		for _, name := range v.Names {
			if token.IsExported(name) {
				fmt.Fprintf(&g.out, "<a id=%q></a>", name)
			}
		}
		g.out.WriteString("\n\n")
		g.code(v.Decl)
		g.said(p, v.Doc)
	}
}

func (g *godoc) functions(p *comment.Printer, level int, list []*doc.Func) {
	for _, f := range list {
		name := f.Name
		if f.Recv != "" {
			name = strings.TrimLeft(f.Recv, "*")
			name, _, _ = strings.Cut(name, "[") // the parameters of a type
			name += "." + f.Name
		}
		fmt.Fprintf(&g.out, "%s %s {#%s}\n\n", strings.Repeat("#", level), name, name)
		g.code(f.Decl)
		g.said(p, f.Doc)
		g.examples(p, f.Examples)
	}
}

func (g *godoc) examples(p *comment.Printer, list []*doc.Example) {
	for _, e := range list {
		fmt.Fprintf(&g.out, "<details><summary>%s</summary>\n\n", strings.TrimSpace("Example "+e.Suffix))
		g.said(p, e.Doc)
		var b bytes.Buffer
		if err := format.Node(&b, g.fset, &printer.CommentedNode{Node: e.Code, Comments: e.Comments}); err != nil {
			panic(err) // it has been parsed
		}
		text := strings.TrimSpace(b.String())
		if body, ok := strings.CutPrefix(text, "{"); ok { // of a function: without its braces
			text = strings.Trim(strings.ReplaceAll(strings.TrimSuffix(body, "}"), "\n\t", "\n"), "\n")
		}
		fmt.Fprintf(&g.out, "```go\n%s\n```\n\n</details>\n\n", text)
	}
}

// code writes a declaration, of a function without its body.
func (g *godoc) code(decl ast.Decl) {
	if f, ok := decl.(*ast.FuncDecl); ok {
		f.Body = nil
	}
	g.out.WriteString("```go\n")
	if err := (&printer.Config{Mode: printer.UseSpaces, Tabwidth: 4}).Fprint(&g.out, g.fset, decl); err != nil {
		panic(err) // it has been parsed
	}
	g.out.WriteString("\n```\n\n")
}
