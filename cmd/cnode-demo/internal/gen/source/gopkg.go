package source

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strings"

	"github.com/cnode-go/cnode/ei"
)

// A Package is a Go package, with its types.
type Package struct {
	Types *types.Package
	Info  *types.Info
	Files []*ast.File
	Fset  *token.FileSet
}

const nodesPath = "github.com/cnode-go/cnode/nodes"

// A call is a function that a node exposes, or a request that a server of it takes.
type call struct {
	module, name string // module: that of an exposed function, or the server's name
	isServer     bool
	sig          *types.Signature // nil: it takes terms
	doc          string
}

// calls finds what a program exposes and serves, and says of what it cannot tell by the source why
// not.
func (p *Package) calls() (found []call, unclear []string) {
	docs := map[types.Object]string{}
	for _, f := range p.Files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				docs[p.Info.Defs[fn.Name]] = fn.Doc.Text()
			}
		}
	}
	add := func(at ast.Node, isServer bool, module, name ast.Expr, fn ast.Expr) {
		c := call{isServer: isServer}
		var ok, named bool
		c.module, ok = p.text(module)
		c.name, named = p.text(name)
		if !ok || !named {
			unclear = append(unclear, fmt.Sprintf("%v: its name is no constant", p.Fset.Position(at.Pos())))
			return
		}
		if made, ok := ast.Unparen(fn).(*ast.CallExpr); ok && p.isCall(made, "FuncOf") {
			c.sig, _ = p.Info.TypeOf(made.Args[0]).Underlying().(*types.Signature)
			if c.doc = docs[p.object(made.Args[0])]; c.sig != nil && types.Identical(c.sig, p.Info.TypeOf(made).Underlying()) {
				c.sig = nil // FuncOf leaves it as it is
			}
		}
		found = append(found, c)
	}
	inspect := func(n ast.Node) bool {
		made, ok := n.(*ast.CallExpr)
		switch {
		case !ok:
		case p.isCall(made, "Expose") && len(made.Args) == 3:
			add(made, false, made.Args[0], made.Args[1], made.Args[2])
		case p.isCall(made, "ExposeMethods") && len(made.Args) == 2:
			module, ok := p.text(made.Args[0])
			set := types.NewMethodSet(p.Info.TypeOf(made.Args[1]))
			for i := range set.Len() {
				m := set.At(i).Obj()
				if ok && m.Exported() {
					found = append(found, call{module: module, name: ei.SnakeCase(m.Name()), sig: m.Type().(*types.Signature), doc: docs[m]})
				}
			}
		case p.isCall(made, "Serve") && len(made.Args) == 3:
			on, ok := p.on(made.Args[1])
			if !ok {
				unclear = append(unclear, fmt.Sprintf("%v: its requests are neither here nor where a called function returns them, "+
					"in a literal nodes.Server{On: map[string]nodes.Func{…}}",
					p.Fset.Position(made.Pos())))
			}
			for _, e := range on {
				add(e, true, made.Args[0], e.Key, e.Value)
			}
		}
		return true
	}
	for _, f := range p.Files {
		ast.Inspect(f, inspect)
	}
	return found, unclear
}

// isCall tells whether a call is one of a function of package nodes.
func (p *Package) isCall(c *ast.CallExpr, name string) bool {
	f, ok := p.object(c.Fun).(*types.Func)
	return ok && f.Name() == name && f.Pkg() != nil && f.Pkg().Path() == nodesPath && len(c.Args) > 0
}

// object is what a name stands for.
func (p *Package) object(e ast.Expr) types.Object {
	switch e := ast.Unparen(e).(type) {
	case *ast.Ident:
		return p.Info.Uses[e]
	case *ast.SelectorExpr:
		return p.Info.Uses[e.Sel]
	}
	return nil
}

// text is a constant.
func (p *Package) text(e ast.Expr) (string, bool) {
	v := p.Info.Types[e].Value
	if v == nil || v.Kind() != constant.String {
		return "", false
	}
	return constant.StringVal(v), true
}

// on are the requests of a server.
func (p *Package) on(e ast.Expr) (entries []*ast.KeyValueExpr, ok bool) {
	if made, ok := ast.Unparen(e).(*ast.CallExpr); ok { // of a function that returns a literal
		e = p.returned(p.object(made.Fun))
	}
	server, _ := ast.Unparen(e).(*ast.CompositeLit)
	if server == nil {
		return nil, false
	}
	for _, f := range server.Elts {
		kv, _ := f.(*ast.KeyValueExpr)
		if kv == nil || fmt.Sprint(kv.Key) != "On" {
			continue
		}
		on, _ := ast.Unparen(kv.Value).(*ast.CompositeLit)
		if on == nil {
			return nil, false
		}
		for _, e := range on.Elts {
			entries = append(entries, e.(*ast.KeyValueExpr))
		}
		ok = true
	}
	return entries, ok
}

// returned is what a function of the package returns in the end; nil if that is not one value.
func (p *Package) returned(of types.Object) ast.Expr {
	for _, f := range p.Files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || of == nil || p.Info.Defs[fn.Name] != of || fn.Body == nil || len(fn.Body.List) == 0 {
				continue
			}
			if r, ok := fn.Body.List[len(fn.Body.List)-1].(*ast.ReturnStmt); ok && len(r.Results) == 1 {
				return r.Results[0]
			}
		}
	}
	return nil
}

// A goField is one of a struct, with what its tag says.
type goField struct {
	key     string
	typ     types.Type
	options []string
}

// A layout is how package ei writes a struct.
type layout struct {
	kind   string // "", struct, tuple, proplist, keys=binary
	name   string // of struct=NAME and tuple=NAME
	fields []goField
}

// tagOf takes apart the tag of a field.
func tagOf(tag string) (name string, options []string) {
	_, tag, _ = strings.Cut(tag, `ei:"`)
	tag, _, _ = strings.Cut(tag, `"`)
	parts := strings.Split(tag, ",")
	return parts[0], parts[1:]
}

// layoutOf reads a struct as package ei does.
func layoutOf(s *types.Struct) (l layout, err error) {
	for i := range s.NumFields() {
		f := s.Field(i)
		name, options := tagOf(s.Tag(i))
		if f.Name() == "_" {
			for _, o := range append([]string{name}, options...) {
				kind, value, _ := strings.Cut(o, "=")
				switch kind {
				case "struct", "tuple", "proplist":
					l.kind, l.name = kind, value
				case "keys", "atom":
					l.kind = o
				}
			}
			continue
		}
		inner, isStruct := f.Type().Underlying().(*types.Struct)
		switch {
		case f.Embedded() && isStruct && name == "" && ofLibrary(f.Type()) == "":
			of, err := layoutOf(inner)
			if err != nil {
				return l, err
			}
			l.fields = append(l.fields, of.fields...)
			continue
		case !f.Exported() || name == "-":
			continue
		case name == "":
			name = ei.SnakeCase(f.Name())
		}
		if !variableSyntax.MatchString(name) {
			return l, fmt.Errorf("the key %q cannot be that of a field in Elixir's source", name)
		}
		l.fields = append(l.fields, goField{name, f.Type(), options})
	}
	if l.kind != "" && l.kind != "struct" && l.kind != "tuple" && l.kind != "proplist" && l.kind != "keys=binary" {
		return l, fmt.Errorf("no module can be made of a struct with %s", l.kind)
	}
	return l, nil
}
