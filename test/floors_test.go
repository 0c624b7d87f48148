package test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The floors of the two large packages: what stands on a floor calls functions of its own floor and
// of those below. The exceptions are listed in testdata/floors, as "FILE calls FUNCTION"; the list
// may only shrink. Files are named without their suffixes for systems. Of other packages only the
// largest cycles among their files are held.
//
// A call of an unexported interface's method counts as one of every type of the package that has
// the method, and the use of a function in an unexported field as one of each function that is put
// there: they hide who is called from the compiler, not from whoever reads.

// A house is a package whose files may not call each other as they like.
type house struct {
	floors [][]string // the lowest first; none: only the cycles count
	knot   int        // how many files may call each other in one cycle, at most
	state  int        // the same where the use of a field, too, is one of the file that declares it
}

var houses = map[string]house{
	"ei": {knot: 10, state: 36},
	"nodes": {knot: 12, state: 53, floors: [][]string{
		words("doc errors identity lifetime" +
			// leaves
			" transports router"),
		words("conn message trace complain measure send"), // a connection
		words("config listen opening handshake peers connect resolve publish activate"),
		words("run task processes mailbox sys deliver overflow bondchange link spawnreply monitor monitornodes exit" +
			" signal way"),
		words("call erpc servedcall typedcall server on service func apply spawn work kernel" +
			" sendto permit connreceive readloop"), // calls, both ways
		words("node introspect"),
		words("move connfreeze connstage bonds nodefreeze nodesnapshot frozen staged restore" +
			" shutdown"), // moving
		words("inside"), // for package workers
	}},
	"nodes/workers": {knot: 2, state: 4, floors: [][]string{
		words("doc node conn"),
		words("part partquestion ways"), // other workers: the ways to them, and the front
		words("relay links"),            // what passes between workers
		words("worker session move restore"),
		words("front frontmove upgrade"),
	}},
	"transport": {knot: 7, state: 7, floors: [][]string{
		words("doc errors addr inet netaddr unixaddr sockaddr posix addrcalls"), // addresses
		words("wait waiter timelimit"),
		words("callbacks carrier calls guarded hooks transfer socketend ready rawconn full side inplace interrupt" +
			" passage imported itself"),
		words("stream streampending streampause pdu turns queue queuewriter hold listener" +
			" takeover writesome abort conn outstanding"),
		words("transport construct tcp unix memory fromnet"),
	}},
	"transport/tsocket":             {knot: 4, state: 5},
	"transport/transporttest":       {knot: 5, state: 5},
	"tlstransport":                  {knot: 14, state: 17},
	"contrib/front":                 {knot: 5, state: 5},
	"cmd/erl-call":                  {knot: 4, state: 4},
	"cmd/cnode-demo":                {knot: 1, state: 1}, // with those below: see TestFloors
	"cmd/cnode-gen":                 {knot: 4, state: 5},
	"cmd/cnode-gen/internal/source": {knot: 4, state: 5},
}

var writeFloors = flag.Bool("floors", false, "write testdata/floors anew: it must not have grown")

func words(s string) []string { return strings.Fields(s) }

// A plan is what the source of a package says of its files.
type plan struct {
	files  []string
	calls  uses // of functions
	fields uses
}

// uses are what a file uses of another one: by the one, then by the other.
type uses map[string]map[string]map[string]bool

func (u uses) add(from, to, what string) {
	if from == to {
		return
	}
	if u[from] == nil {
		u[from] = map[string]map[string]bool{}
	}
	if u[from][to] == nil {
		u[from][to] = map[string]bool{}
	}
	u[from][to][what] = true
}

// and joins two.
func (u uses) and(v uses) uses {
	both := uses{}
	for _, of := range []uses{u, v} {
		for from, all := range of {
			for to, names := range all {
				for name := range names {
					both.add(from, to, name)
				}
			}
		}
	}
	return both
}

// draw reads a package of those listed. Its imports come as export data, from the cache of builds.
func (l *listing) draw(name string) (*plan, error) {
	dir, err := filepath.Abs(filepath.Join("..", name))
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var parsed []*ast.File
	p := &plan{calls: uses{}, fields: uses{}}
	for _, name := range l.files[dir] {
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, 0)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, f)
		p.files = append(p.files, name)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(l.exports[path])
	})}
	pkg, err := conf.Check("x", fset, parsed, info)
	if err != nil {
		return nil, err
	}
	file := func(pos token.Pos) string { return filepath.Base(fset.Position(pos).Filename) }
	held := heldFuncs(parsed, info, pkg)
	for id, obj := range info.Uses {
		if obj.Pkg() != pkg {
			continue
		}
		switch o := obj.(type) {
		case *types.Func:
			p.calls.add(file(id.Pos()), file(o.Pos()), funcName(o))
			for _, behind := range behind(o, pkg) {
				p.calls.add(file(id.Pos()), file(behind.Pos()), funcName(behind))
			}
		case *types.Var:
			if o.IsField() {
				p.fields.add(file(id.Pos()), file(o.Pos()), o.Name())
			}
			for pos, name := range held[o] {
				p.calls.add(file(id.Pos()), file(pos), name)
			}
		}
	}
	return p, nil
}

// heldFuncs lists, by unexported fields of structs, the functions that are put into them, by where
// they are.
func heldFuncs(files []*ast.File, info *types.Info, pkg *types.Package) map[*types.Var]map[token.Pos]string {
	held := map[*types.Var]map[token.Pos]string{}
	put := func(field *ast.Ident, value ast.Expr) {
		v, ok := info.Uses[field].(*types.Var)
		if !ok || !v.IsField() || v.Exported() || v.Pkg() != pkg {
			return
		}
		if held[v] == nil {
			held[v] = map[token.Pos]string{}
		}
		switch e := value.(type) {
		case *ast.FuncLit:
			held[v][e.Pos()] = "a function in " + v.Name()
		case *ast.SelectorExpr:
			if f, ok := info.Uses[e.Sel].(*types.Func); ok && f.Pkg() == pkg {
				held[v][f.Pos()] = funcName(f)
			}
		case *ast.Ident:
			if f, ok := info.Uses[e].(*types.Func); ok && f.Pkg() == pkg {
				held[v][f.Pos()] = funcName(f)
			}
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok {
					put(key, n.Value)
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if to, ok := left.(*ast.SelectorExpr); ok && len(n.Lhs) == len(n.Rhs) {
						put(to.Sel, n.Rhs[i])
					}
				}
			}
			return true
		})
	}
	return held
}

// behind lists the methods that a call of an unexported interface's method may reach.
func behind(f *types.Func, pkg *types.Package) (methods []types.Object) {
	recv := f.Signature().Recv()
	if recv == nil || !types.IsInterface(recv.Type()) {
		return nil
	}
	named, ok := recv.Type().(*types.Named)
	if !ok || named.Obj().Exported() {
		return nil
	}
	for _, name := range pkg.Scope().Names() {
		t, ok := pkg.Scope().Lookup(name).(*types.TypeName)
		if !ok || types.IsInterface(t.Type()) {
			continue
		}
		pointer := types.NewPointer(t.Type())
		if types.Implements(pointer, named.Underlying().(*types.Interface)) {
			methods = append(methods, types.NewMethodSet(pointer).Lookup(pkg, f.Name()).Obj())
		}
	}
	return methods
}

// A listing has the export data of what packages import, and the files of each of them, by folder.
type listing struct {
	exports map[string]string
	files   map[string][]string
}

func listed(names []string) (*listing, error) {
	args := []string{"list", "-pgo=off", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,DepOnly"}
	for _, name := range names {
		args = append(args, "../"+name)
	}
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		return nil, err
	}
	l := &listing{map[string]string{}, map[string][]string{}}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			ImportPath, Dir, Export string
			GoFiles                 []string
			DepOnly                 bool
		}
		if err := d.Decode(&p); err != nil {
			return nil, err
		}
		l.exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			l.files[p.Dir] = p.GoFiles
		}
	}
	return l, nil
}

func funcName(of types.Object) string {
	f := of.(*types.Func)
	recv := f.Signature().Recv()
	if recv == nil {
		return f.Name()
	}
	t := recv.Type()
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		return n.Obj().Name() + "." + f.Name()
	}
	return f.Name()
}

// knot is the largest set of files of which each uses something of all others, be it over others.
func (p *plan) knot(uses uses) (largest []string) {
	order, low, on := map[string]int{}, map[string]int{}, map[string]bool{}
	var stack []string
	var visit func(file string) // Tarjan's algorithm
	visit = func(file string) {
		order[file] = len(order) + 1
		low[file] = order[file]
		stack = append(stack, file)
		on[file] = true
		for to := range uses[file] {
			if order[to] == 0 {
				visit(to)
				low[file] = min(low[file], low[to])
			} else if on[to] {
				low[file] = min(low[file], order[to])
			}
		}
		if low[file] < order[file] {
			return
		}
		at := slices.Index(stack, file)
		cycle := slices.Clone(stack[at:])
		stack = stack[:at]
		for _, f := range cycle {
			on[f] = false
		}
		if len(cycle) > len(largest) {
			largest = cycle
		}
	}
	for _, f := range p.files {
		if order[f] == 0 {
			visit(f)
		}
	}
	slices.Sort(largest)
	return largest
}

// upward lists the calls from one floor to a higher one. A file on no floor, and a floor's file
// that is not there, are errors.
func (p *plan) upward(h house) (calls, wrong []string) {
	floor := map[string]int{}
	for i, names := range h.floors {
		for _, name := range names {
			floor[name] = i
		}
	}
	on := func(file string) (int, bool) {
		name := strings.TrimSuffix(file, ".go")
		for {
			if i, ok := floor[name]; ok {
				return i, true
			}
			cut := strings.LastIndex(name, "_")
			if cut < 0 {
				return 0, false
			}
			name = name[:cut]
		}
	}
	for _, f := range p.files {
		if _, ok := on(f); !ok {
			wrong = append(wrong, fmt.Sprintf("%s is on no floor", f))
		}
	}
	for from, all := range p.calls {
		for to, names := range all {
			a, ok1 := on(from)
			b, ok2 := on(to)
			if !ok1 || !ok2 || a >= b {
				continue
			}
			for name := range names {
				calls = append(calls, fmt.Sprintf("%s calls %s", from, name))
			}
		}
	}
	slices.Sort(calls)
	slices.Sort(wrong)
	return slices.Compact(calls), wrong
}

// floorsFile has the calls of higher floors that a package may have.
func floorsFile(name string) string {
	return filepath.Join("testdata", "floors", strings.ReplaceAll(name, "/", "."))
}

func TestFloors(t *testing.T) {
	all := maps.Clone(houses)
	for _, below := range []string{"cmd/internal", "cmd/cnode-demo/internal"} {
		commands, err := filepath.Glob("../" + below + "/*")
		require.NoError(t, err)
		for _, dir := range commands {
			all[below+"/"+filepath.Base(dir)] = house{knot: 4, state: 5}
		}
	}
	l, err := listed(slices.Collect(maps.Keys(all)))
	require.NoError(t, err)
	for name, h := range all {
		t.Run(name, func(t *testing.T) {
			p, err := l.draw(name)
			require.NoError(t, err)
			knot := p.knot(p.calls)
			lines := 0
			for _, f := range knot {
				b, err := os.ReadFile(filepath.Join("..", name, f))
				require.NoError(t, err)
				lines += strings.Count(string(b), "\n")
			}
			t.Logf("%s: %d files; the largest cycle of calls has %d of them, %d lines", name, len(p.files), len(knot), lines)
			require.LessOrEqual(t, len(knot), h.knot, "the largest cycle of calls has grown: %v", knot)
			state := p.knot(p.calls.and(p.fields))
			t.Logf("with fields it has %d", len(state))
			require.LessOrEqual(t, len(state), h.state, "the largest cycle of calls and fields has grown: %v", state)
			if h.floors == nil {
				return
			}
			got, wrong := p.upward(h)
			require.Empty(t, wrong)
			if *writeFloors {
				require.NoError(t, os.WriteFile(floorsFile(name), []byte(strings.Join(got, "\n")+"\n"), 0o644))
			}
			b, err := os.ReadFile(floorsFile(name))
			require.NoError(t, err)
			allowed := strings.Split(strings.TrimSpace(string(b)), "\n")
			for _, call := range got {
				require.Contains(t, allowed, call, "a call of a higher floor: change the structure, not the list")
			}
			for _, call := range allowed {
				if call != "" {
					require.Contains(t, got, call, "it is there no more: take it off the list")
				}
			}
			t.Logf("%d calls of higher floors", len(got))
		})
	}
}
