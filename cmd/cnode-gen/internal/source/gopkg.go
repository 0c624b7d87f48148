package source

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"

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

// A finder collects what a program exposes and serves.
type finder struct {
	*Package
	docs    map[types.Object]string
	found   []call
	unclear []string // what cannot be told by the source, and why
}

// calls finds what a program exposes and serves, and says of what it cannot tell by the source why
// not.
func (p *Package) calls() (found []call, unclear []string) {
	f := &finder{Package: p, docs: map[types.Object]string{}}
	for _, file := range p.Files {
		for _, d := range file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				f.docs[p.Info.Defs[fn.Name]] = fn.Doc.Text()
			}
		}
	}
	for _, file := range p.Files {
		ast.Inspect(file, f.inspect)
	}
	return f.found, f.unclear
}

// add adds an exposed function, or a request.
func (f *finder) add(at ast.Node, isServer bool, module, name ast.Expr, fn ast.Expr) {
	c := call{isServer: isServer}
	var ok, named bool
	c.module, ok = f.text(module)
	c.name, named = f.text(name)
	if !ok || !named {
		f.unclear = append(f.unclear, fmt.Sprintf("%v: its name is no constant", f.Fset.Position(at.Pos())))
		return
	}
	if made, ok := ast.Unparen(fn).(*ast.CallExpr); ok && f.isCall(made, "FuncOf") {
		c.sig, _ = f.Info.TypeOf(made.Args[0]).Underlying().(*types.Signature)
		if c.doc = f.docs[f.object(made.Args[0])]; c.sig != nil && types.Identical(c.sig, f.Info.TypeOf(made).Underlying()) {
			c.sig = nil // FuncOf leaves it as it is
		}
	}
	f.found = append(f.found, c)
}

func (f *finder) inspect(n ast.Node) bool {
	made, ok := n.(*ast.CallExpr)
	switch {
	case !ok:
	case f.isCall(made, "Expose") && len(made.Args) == 3:
		f.add(made, false, made.Args[0], made.Args[1], made.Args[2])
	case f.isCall(made, "ExposeMethods") && len(made.Args) == 2:
		module, ok := f.text(made.Args[0])
		set := types.NewMethodSet(f.Info.TypeOf(made.Args[1]))
		for i := range set.Len() {
			m := set.At(i).Obj()
			if ok && m.Exported() {
				f.found = append(f.found, call{module: module, name: ei.SnakeCase(m.Name()), sig: m.Type().(*types.Signature), doc: f.docs[m]})
			}
		}
	case f.isCall(made, "Serve") && len(made.Args) == 3:
		on, ok := f.on(made.Args[1])
		if !ok {
			f.unclear = append(f.unclear, fmt.Sprintf("%v: its requests are neither here nor where a called function returns them, "+
				"in a literal nodes.Server{On: map[string]nodes.Func{…}}", f.Fset.Position(made.Pos())))
		}
		for _, e := range on {
			f.add(e, true, made.Args[0], e.Key, e.Value)
		}
	}
	return true
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
