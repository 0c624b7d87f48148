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

// Modules outside the standard library.
const (
	xsys    = "golang.org/x/sys"
	xcrypto = "golang.org/x/crypto"
	xnet    = "golang.org/x/net" // its nettest, ipv4 and dnsmessage
	cobra   = "github.com/spf13/cobra"
	pflag   = "github.com/spf13/pflag"
	tea     = "charm.land/bubbletea"
	ergo    = "github.com/ergo-services/ergo"
	cbor    = "github.com/fxamacker/cbor"
	testify = "github.com/stretchr/testify"
	goleak  = "go.uber.org/goleak"
	rapid   = "pgregory.net/rapid"
)

// A row says what one package may import, by paths below the module and by
// modules outside of it.
type row struct {
	path      string
	own       string   // packages of ours
	others    []string // modules that are not
	notStd    string   // parts of the standard library that it must not have
	testOwn   string   // besides own, in its tests
	testOther []string // besides others and those every test may have, in its tests
}

// The picture: a package imports only what stands above it in this table. The
// folders below a command or a kind of test are their own affair and would be
// rows of their own.
var picture = []row{
	{path: "internal/test/need"},
	{path: "internal/test/fips", own: "internal/test/need"},
	{path: "internal/test/leak", others: []string{goleak}},
	{path: "internal/test/expect", others: []string{testify}},
	{path: "internal/test/director", own: "internal/test/expect", others: []string{testify}},
	{path: "internal/test/oddcerts", own: "internal/test/need", others: []string{testify}},
	{path: "internal/test/port"},
	{path: "internal/test/dns", others: []string{xnet}},
	{path: "internal/test/race"},
	{path: "internal/test/scarce", others: []string{xsys, testify}},
	{path: "internal/test/sockdir", own: "internal/test/need"},
	{path: "internal/test/party", others: []string{testify, xsys}},
	{path: "internal/handoffpoint", notStd: "net os time sync log"},
	{path: "ei/internal/nested", notStd: "net os syscall context log time sync reflect"},
	{path: "ei", own: "ei/internal/nested", testOwn: "internal/test/otp", notStd: "net os syscall"},
	{path: "ei/elixir", own: "ei ei/internal/nested", testOwn: "internal/test/otp", notStd: "net os syscall context log"},
	{path: "transport/internal/sys", others: []string{xsys}, notStd: "net context log sync"},
	{path: "transport/internal/await", own: "transport/internal/sys", others: []string{xsys}, notStd: "net log"},
	{path: "transport/internal/bind", own: "transport/internal/sys", others: []string{xsys}, notStd: "context log sync"},
	{path: "internal/queue", notStd: "net os syscall sync time log"},
	{path: "transport", own: "internal/queue transport/internal/sys transport/internal/await transport/internal/bind",
		others:  []string{xsys},
		testOwn: "transport/transporttest transport/virtual internal/test/packets", testOther: []string{xnet}},
	{path: "internal/test/packets", own: "internal/queue transport"},
	{path: "transport/tsocket", others: []string{xsys},
		own: "transport transport/internal/sys transport/internal/await transport/internal/bind"},
	{path: "transport/virtual", own: "transport transport/tsocket", testOwn: "transport/transporttest", testOther: []string{xsys}},
	{path: "transport/transporttest", own: "transport transport/tsocket", others: []string{xsys},
		testOwn: "transport/virtual internal/test/packets"},
	{path: "transport/handoff/internal/fault", own: "transport", notStd: "net os sync context log"},
	{path: "transport/handoff/internal/system", own: "transport/handoff/internal/fault", others: []string{xsys},
		notStd: "net sync context log"},
	{path: "internal/test/fdtest", own: "transport internal/test/expect internal/test/leak internal/test/need",
		others: []string{xsys, testify}},
	{path: "transport/handoff/internal/sock",
		own:    "transport transport/internal/sys transport/internal/await transport/handoff/internal/fault",
		others: []string{xsys}, testOwn: "internal/test/fdtest", notStd: "sync log"},
	{path: "transport/handoff", others: []string{xsys},
		testOwn: "internal/queue transport/transporttest transport/tsocket internal/test/fdtest",
		own: "internal/handoffpoint transport transport/internal/await " +
			"transport/handoff/internal/fault transport/handoff/internal/system transport/handoff/internal/sock"},
	{path: "transport/handoff/internal/inside", own: "transport transport/internal/await transport/handoff", notStd: "log"},
	{path: "transport/handoff/internal/stream", notStd: "net log",
		own: "transport transport/handoff transport/handoff/internal/fault transport/handoff/internal/inside transport/handoff/internal/system"},
	{path: "transport/handoff/jsoncomm", testOwn: "internal/test/fdtest", testOther: []string{xsys},
		own: "transport transport/handoff " + carriers},
	{path: "transport/handoff/beam", testOwn: "transport internal/test/fdtest", testOther: []string{xsys},
		own: "transport/internal/await transport/handoff transport/handoff/internal/stream " + carriers},
	{path: "transport/handoff/bind10", others: []string{xsys}, testOwn: "transport/tsocket internal/test/fdtest",
		own: "transport transport/internal/await transport/handoff transport/handoff/internal/stream " + carriers},
	{path: "tlstransport", own: "ei transport", others: []string{xsys, xcrypto},
		testOwn: "internal/queue transport/transporttest transport/virtual internal/test/otp", testOther: []string{xnet}},
	{path: "nodes/dist", own: "ei", notStd: "net os time sync context log", testOwn: "internal/test/otp"},
	{path: "nodes/internal/hush", notStd: "net os"},
	{path: "nodes/internal/alike", own: "ei", notStd: "net os time sync context log"},
	{path: "nodes/internal/behalf", notStd: "net os time sync log"},
	{path: "nodes/internal/cookie", own: "ei", notStd: "net time sync context"},
	{path: "nodes/internal/places", notStd: "net"},
	{path: "nodes/internal/permit", notStd: "net os time sync context log"},
	{path: "nodes/internal/otp", own: "ei", notStd: "net os time sync context log"},
	{path: "nodes/internal/clock", others: []string{xsys}},
	{path: "nodes/epmd", own: "transport nodes/internal/hush", others: []string{xsys}, testOwn: "internal/test/otp"},
	{path: "nodes/internal/form", own: "ei transport/handoff", notStd: "net os time sync context log"},
	{path: "nodes/internal/states", own: "ei nodes/dist nodes/internal/form", notStd: "net os sync context log"},
	{path: "nodes/internal/wait", own: "transport", notStd: "net syscall log"},
	{path: "nodes/internal/inbox", own: "nodes/internal/places nodes/internal/wait", notStd: "net os context log"},
	{path: "nodes/internal/packed", own: "ei nodes/dist", notStd: "net os time sync context log"},
	{path: "nodes/internal/atoms", own: "ei transport nodes/dist", notStd: "net os time log"},
	{path: "nodes/internal/lazymap", notStd: "net os time sync context log"},
	{path: "nodes/internal/bonds", own: "ei nodes/dist nodes/internal/lazymap nodes/internal/states", notStd: "net os time sync context log"},
	{path: "nodes/internal/sequences", notStd: "net log",
		own: "ei internal/queue transport nodes/dist nodes/internal/states nodes/internal/wait"},
	{path: "nodes/internal/life", own: "nodes/internal/wait", notStd: "net os time log", testOwn: "transport"},
	{path: "nodes/internal/peers", own: "nodes/dist nodes/internal/wait", notStd: "net os time log"},
	{path: "nodes/internal/descriptor", own: "transport transport/handoff nodes/internal/form", others: []string{xsys},
		notStd: "syscall sync context log"},
	{path: "nodes/internal/nametable", own: "nodes/internal/descriptor", others: []string{xsys}, notStd: "net syscall sync context log"},
	{path: "nodes/internal/talk", own: "transport/handoff transport/handoff/beam nodes/dist nodes/internal/descriptor nodes/internal/form " +
		"nodes/internal/states nodes/internal/wait",
		notStd: "log", testOther: []string{xsys}},
	{path: "nodes/internal/process", others: []string{xsys}, notStd: "net context log"},
	{path: "nodes/internal/crew", own: "transport transport/handoff transport/handoff/bind10 nodes/internal/descriptor nodes/internal/form " +
		"nodes/internal/nametable nodes/internal/process nodes/internal/states nodes/internal/talk nodes/internal/wait",
		testOwn: "nodes/dist", testOther: []string{xsys}},
	{path: "nodes/introspect", own: "ei", notStd: "net os sync context log"},
	{path: "nodes/metrics", notStd: "net os log"},
	{path: "nodes/internal/link", own: "ei internal/queue transport transport/handoff nodes/dist nodes/metrics nodes/internal/atoms " +
		"nodes/internal/clock nodes/internal/form nodes/internal/life nodes/internal/places " +
		"nodes/internal/sequences nodes/internal/states nodes/internal/wait"},
	{path: "nodes", others: []string{xsys}, testOwn: "transport/transporttest transport/virtual internal/test/otp internal/test/packets",
		own: "internal/handoffpoint internal/queue ei transport transport/handoff transport/handoff/bind10 nodes/dist nodes/epmd " +
			"nodes/introspect nodes/metrics nodes/internal/alike nodes/internal/behalf nodes/internal/bonds nodes/internal/clock " +
			"nodes/internal/cookie nodes/internal/crew " +
			"nodes/internal/descriptor nodes/internal/form nodes/internal/hush nodes/internal/inbox nodes/internal/lazymap nodes/internal/life " +
			"nodes/internal/link nodes/internal/otp nodes/internal/nametable nodes/internal/packed nodes/internal/peers " +
			"nodes/internal/permit nodes/internal/places nodes/internal/states " +
			"nodes/internal/talk nodes/internal/wait"},
	{path: "nodes/internal/kept", own: "ei transport nodes nodes/introspect nodes/internal/hush nodes/internal/otp nodes/internal/places",
		notStd: "net syscall"},
	{path: "nodes/pg", own: "ei transport nodes nodes/dist nodes/internal/kept nodes/internal/otp", notStd: "net syscall"},
	{path: "nodes/global", own: "ei transport nodes nodes/dist nodes/internal/kept nodes/internal/otp",
		testOwn: "nodes/nodestest internal/test/accord internal/test/otp", testOther: []string{xsys}},
	{path: "nodes/supervisor", own: "ei transport nodes/dist nodes", testOther: []string{xsys}},
	{path: "nodes/discovery", own: "ei transport nodes/dist nodes/epmd nodes", others: []string{xnet}, testOwn: "internal/test/dns"},
	{path: "nodes/groupleader", own: "ei transport nodes nodes/dist nodes/internal/otp", notStd: "net os syscall"},
	{path: "nodes/pubsub", notStd: "net os",
		own: "ei ei/elixir transport nodes nodes/dist nodes/internal/behalf nodes/internal/kept nodes/internal/otp nodes/pg"},
	{path: "nodes/health", own: "nodes", testOwn: "ei transport"},
	{path: "nodes/debugz", own: "ei nodes nodes/dist nodes/global nodes/introspect nodes/metrics nodes/pg",
		testOwn: "nodes/nodestest nodes/supervisor"},
	{path: "nodes/observer", own: "ei nodes nodes/dist nodes/introspect nodes/groupleader nodes/internal/otp",
		notStd: "net", testOwn: "transport"},
	{path: "nodes/nodestest", own: "ei transport nodes nodes/dist", notStd: "os"},
	{path: "nodes/upgrade", own: "internal/handoffpoint transport/handoff nodes", others: []string{xsys},
		testOwn: "ei nodes/epmd nodes/health internal/test/director internal/test/otp internal/test/systemd"},
	{path: "nodes/console", notStd: "net os syscall",
		own: "ei ei/elixir transport nodes nodes/dist nodes/introspect nodes/groupleader nodes/internal/alike nodes/internal/kept " +
			"nodes/internal/otp"},
	{path: "cmd/cnode-demo/internal/steps"},
	{path: "cmd/cnode-demo/internal/cli", others: []string{cobra, pflag}},
	{path: "cmd/cnode-demo/internal/config",
		own: "nodes nodes/dist nodes/epmd tlstransport transport transport/virtual cmd/cnode-demo/internal/cli", others: []string{xsys, cobra,
			pflag}},
	{path: "cmd/cnode-demo/internal/mapper", own: "nodes/epmd transport cmd/cnode-demo/internal/cli cmd/cnode-demo/internal/config",
		others: []string{cobra}},
	{path: "cmd/cnode-demo/internal/certs", own: "nodes/dist cmd/cnode-demo/internal/cli cmd/cnode-demo/internal/config",
		others: []string{cobra}},
	{path: "cmd/cnode-demo/internal/ask", own: "ei ei/elixir nodes nodes/epmd cmd/cnode-demo/internal/cli cmd/cnode-demo/internal/config",
		others: []string{cobra, pflag}},
	{path: "cmd/cnode-demo/internal/top", own: "ei nodes cmd/cnode-demo/internal/cli cmd/cnode-demo/internal/config",
		others: []string{cobra, tea}, testOwn: "nodes/epmd nodes/nodestest nodes/observer internal/test/otp"},
	{path: "cmd/cnode-demo/internal/gen/source", own: "ei ei/elixir", notStd: "net os time sync context log os/exec",
		testOther: []string{testify}},
	{path: "cmd/cnode-demo/internal/gen",
		own:    "ei nodes cmd/cnode-demo/internal/gen/source cmd/cnode-demo/internal/cli cmd/cnode-demo/internal/config",
		others: []string{cobra}, testOwn: "nodes/nodestest"},
	{path: "cmd/cnode-demo/internal/move",
		own:    "nodes/upgrade transport/handoff cmd/cnode-demo/internal/steps cmd/cnode-demo/internal/cli cmd/cnode-demo/internal/config",
		others: []string{cobra, pflag}},
	{path: "cmd/cnode-demo/internal/stay", own: "nodes nodes/upgrade cmd/cnode-demo/internal/cli", others: []string{xsys, cobra}},
	{path: "cmd/cnode-demo/internal/serve", own: libraries +
		" cmd/cnode-demo/internal/steps cmd/cnode-demo/internal/cli cmd/cnode-demo/internal/config cmd/cnode-demo/internal/mapper " +
		"cmd/cnode-demo/internal/move", others: []string{cobra, pflag}},
	{path: "cmd/cnode-demo/internal/tour", own: libraries +
		" cmd/cnode-demo/internal/cli cmd/cnode-demo/internal/config cmd/cnode-demo/internal/mapper cmd/cnode-demo/internal/certs " +
		"cmd/cnode-demo/internal/ask", others: []string{cobra, pflag}},
	{path: "cmd/cnode-demo", own: libraries +
		" cmd/cnode-demo/internal/steps cmd/cnode-demo/internal/cli cmd/cnode-demo/internal/config cmd/cnode-demo/internal/mapper " +
		"cmd/cnode-demo/internal/certs cmd/cnode-demo/internal/ask cmd/cnode-demo/internal/move cmd/cnode-demo/internal/serve " +
		"cmd/cnode-demo/internal/tour cmd/cnode-demo/internal/top cmd/cnode-demo/internal/stay " +
		"cmd/cnode-demo/internal/gen",
		others: []string{xsys, cobra, pflag}, testOwn: "internal/handoffpoint internal/test/director internal/test/otp internal/test/systemd"},
	{path: "cmd/erl-call", own: libraries, others: []string{xsys, cobra, pflag}, testOwn: "internal/test/otp"},
	{path: "internal/test/otp", own: "internal/test/need internal/test/port"},
	{path: "internal/test/accord", own: "ei nodes nodes/global"},
	{path: "test/permission", testOwn: libraries},
	{path: "internal/test/pty", own: "internal/test/need", others: []string{xsys}},
	{path: "internal/test/carriers", own: "internal/test/sockdir transport", others: []string{testify}},
	{path: "internal/test/line", own: "internal/test/need transport", others: []string{xsys}},
	{path: "internal/test/systemd", own: "internal/test/need"},
	{path: "test/libfuzzer/target", others: []string{"C"}}, // libFuzzer is C++, and calls it
	{path: "test/libfuzzer", own: "test/libfuzzer/target"},
	{path: "test/interop", own: libraries + " internal/test/otp internal/test/line", others: []string{xsys, ergo},
		testOwn: "transport/transporttest internal/test/pty"},
	{path: "test/interop/move", own: libraries + " internal/test/otp", others: []string{xsys}},
	{path: "test/interop/upgrade", own: libraries + " internal/test/otp", others: []string{xsys}},
	{path: "test/interop/handoff", own: libraries},
	{path: "test/interop/tls", own: libraries + " internal/test/otp", others: []string{xsys}},
	{path: "test/interop/global",
		testOwn: libraries + " internal/test/accord internal/test/otp internal/test/line", testOther: []string{xsys}},
	{path: "test/interop/callsout", own: libraries + " internal/test/otp", others: []string{xsys}},
	{path: "test/interop/workers", testOwn: libraries + " internal/test/otp"},
	{path: "test/interop/drain", testOwn: libraries + " internal/test/expect internal/test/leak internal/test/otp"},
	{path: "test/interop/pg", testOwn: libraries + " internal/test/otp internal/test/line", others: []string{xsys}},
	{path: "test/interop/supervise", testOwn: libraries + " internal/test/otp"},
	{path: "test/interop/discovery", testOwn: libraries + " internal/test/otp internal/test/line internal/test/dns"},
	{path: "test/interop/processes", testOwn: libraries + " internal/test/otp"},
	{path: "test/interop/observer", testOwn: libraries + " internal/test/otp internal/test/port"},
	{path: "test/interop/console", testOwn: libraries + " internal/test/otp internal/test/pty"},
	{path: "test/interop/permission", testOwn: libraries + " internal/test/otp"},
	{path: "test/interop/neighbours", own: libraries + " internal/test/otp"},
	{path: "test/interop/gen", testOwn: "internal/test/otp"},
	{path: "test/interop/pubsub", testOwn: libraries + " internal/test/otp", testOther: []string{xsys}},
	{path: "test/chaos", own: libraries + " internal/test/otp", others: []string{xsys, ergo},
		testOwn: "transport/transporttest internal/test/pty"},
	{path: "test/bench/profile"},
	{path: "test/bench", own: libraries + " internal/test/otp internal/test/line internal/test/port",
		others: []string{xsys, cobra, pflag, ergo}},
	{path: "test/bench/peer", own: libraries + " test/bench/profile"},
	{path: "test/bench/compute"},
	{path: "test/bench/carrier", own: libraries},
	{path: "test/bench/ergo", own: "internal/test/port", others: []string{ergo}},
	{path: "test/bench/codec", own: "ei test/bench/profile", others: []string{ergo, cbor}},
	{path: "examples/backpressure", own: libraries},
	{path: "examples/board", own: libraries},
	{path: "examples/cookbook", own: libraries, testOwn: "nodes/nodestest internal/test/expect", testOther: []string{testify}},
	{path: "examples/first-node", own: libraries},
	{path: "examples/first-plugin", own: libraries, testOwn: "transport/transporttest"},
	{path: "examples/phoenix", own: libraries},
	{path: "examples/service", own: libraries},
	{path: "examples/tls-node", own: libraries},
	{path: "test"},
}

// libraries are what a command may use: all that a user may, but the suite for
// tests.
const libraries = "ei ei/elixir transport transport/tsocket transport/virtual transport/handoff transport/handoff/jsoncomm " +
	"transport/handoff/beam transport/handoff/bind10 tlstransport nodes nodes/dist nodes/epmd " +
	"nodes/groupleader nodes/pg nodes/pubsub nodes/global nodes/supervisor nodes/discovery nodes/introspect nodes/observer " +
	"nodes/metrics nodes/health nodes/debugz nodes/console nodes/upgrade nodes/nodestest"

// carriers are what those of package handoff share.
const carriers = "transport/handoff/internal/fault transport/handoff/internal/inside transport/handoff/internal/sock " +
	"transport/handoff/internal/system"

// everyTest are the modules that any test may use, and everyTestOwn the packages of ours.
var everyTest = []string{testify, goleak, rapid}

const everyTestOwn = "internal/test/expect internal/test/fips internal/test/leak internal/test/need internal/test/oddcerts " +
	"internal/test/party internal/test/port internal/test/race " +
	"internal/test/scarce internal/test/sockdir"

// nameless are words that say nothing about what is in a package or a file.
var nameless = []string{"util", "utils", "common", "core", "manager", "helper", "helpers", "misc", "base", "shared"}

// A source is one Go file, whatever system it is for.
type source struct {
	path    string // below the module's root
	imports []string
}

func (s source) pkg() string  { return path.Dir(s.path) }
func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func TestImports(t *testing.T) {
	sources, err := read("..")
	require.NoError(t, err)
	require.NotEmpty(t, sources)
	require.Empty(t, check(picture, sources))
}

// Imports point down only: what a row may import stands above it.
func TestPictureHasNoArrowUp(t *testing.T) {
	var above []string
	for _, r := range picture {
		for own := range strings.FieldsSeq(r.own) {
			require.Contains(t, above, own, "%s imports %s", r.path, own)
			require.NotEqual(t, "transport/transporttest", own, "%s imports the suite outside a test", r.path)
		}
		above = append(above, r.path)
	}
}

// The check finds something: each of these trees has one fault.
func TestCheckFinds(t *testing.T) {
	ours := func(p string) string { return module + "/" + p }
	for _, tt := range []struct {
		name, file, imports, want string
	}{
		{"arrow up", "transport/queue.go", ours("nodes"), "transport/queue.go imports nodes"},
		{"arrow aside", "transport/queue.go", ours("ei"), "transport/queue.go imports ei"},
		{"arrow aside in a test", "ei/term_test.go", ours("transport"), "ei/term_test.go imports transport"},
		{"plug-in in nodes", "nodes/node.go", ours("tlstransport"), "nodes/node.go imports tlstransport"},
		{"suite outside a test", "tlstransport/tls.go", ours("transport/transporttest"), "imports transport/transporttest"},
		{"test kit outside a test", "nodes/node.go", ours("internal/test/otp"), "imports internal/test/otp"},
		{"leaks looked for outside a test", "nodes/node.go", ours("internal/test/leak"), "imports internal/test/leak"},
		{"module in a library", "ei/term.go", xsys + "/unix", "ei/term.go imports " + xsys},
		{"module in a test", "nodes/node_test.go", ergo + "/gen", "nodes/node_test.go imports " + ergo},
		{"test module outside a test", "nodes/node.go", testify + "/require", "nodes/node.go imports " + testify},
		{"look-alike module", "nodes/node.go", xsys + "tem/unix", "imports " + xsys + "tem"},
		{"clock in pure code", "nodes/dist/frame.go", "time", "nodes/dist/frame.go imports time"},
		{"socket in pure code", "nodes/dist/frame.go", "net/netip", "nodes/dist/frame.go imports net/netip"},
		{"C", "ei/term.go", "C", "ei/term.go imports C"},
		{"unknown package", "router/router.go", "", "router is not in the picture"},
		{"nameless package", "nodes/util/x.go", "", "nodes/util/x.go: util says nothing"},
		{"nameless file", "nodes/common.go", "", "nodes/common.go: common says nothing"},
		{"nameless test file", "nodes/helpers_test.go", "", "nodes/helpers_test.go: helpers says nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Contains(t, strings.Join(check(picture, []source{{tt.file, strings.Fields(tt.imports)}}), "\n"), tt.want)
		})
	}
	require.Empty(t, check(picture, []source{
		{"nodes/node.go", []string{"time", xsys + "/unix", ours("ei"), ours("transport/handoff")}},
		{"nodes/node_test.go", []string{"testing", testify + "/require", goleak, ours("nodes"), ours("ei"), ours("internal/test/otp")}},
		{"nodes/dist/frame_test.go", []string{"time", "os"}},
	}))
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
	for _, other := range []string{"cmd", "test/bench", "test/interop"} {
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
		i := slices.IndexFunc(picture, func(r row) bool { return r.path == s.pkg() })
		if i < 0 {
			wrong = append(wrong, fmt.Sprintf("%s: the package %s is not in the picture", s.path, s.pkg()))
			continue
		}
		for _, imported := range s.imports {
			if !picture[i].allows(imported, s.isTest()) {
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

func (r row) allows(imported string, inTest bool) bool {
	if own, ok := strings.CutPrefix(imported, module+"/"); ok {
		return slices.Contains(strings.Fields(r.own), own) ||
			inTest && (own == r.path || slices.Contains(strings.Fields(r.testOwn+" "+everyTestOwn), own))
	}
	first, _, _ := strings.Cut(imported, "/")
	if imported == "C" {
		return slices.Contains(r.others, imported)
	}
	if !strings.Contains(first, ".") {
		return inTest || !slices.Contains(strings.Fields(r.notStd), first)
	}
	modules := r.others
	if inTest {
		modules = slices.Concat(modules, everyTest, r.testOther)
	}
	return slices.ContainsFunc(modules, func(m string) bool {
		return imported == m || strings.HasPrefix(imported, m+"/")
	})
}
