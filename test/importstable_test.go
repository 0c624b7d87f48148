package test

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
	{path: "internal/test/browser", own: "internal/test/expect internal/test/need", others: []string{testify}},
	{path: "internal/test/director", own: "internal/test/expect", others: []string{testify}},
	{path: "internal/test/oddcerts", own: "internal/test/need", others: []string{testify}},
	{path: "internal/test/one", testOther: []string{testify}},
	{path: "internal/test/port"},
	{path: "internal/test/dns", others: []string{xnet}},
	{path: "internal/test/race"},
	{path: "internal/test/scarce", others: []string{xsys, testify}},
	{path: "internal/test/sockdir", own: "internal/test/need"},
	{path: "internal/test/party", others: []string{testify, xsys}},
	{path: "internal/host"},
	{path: "internal/handoffpoint", notStd: "net os time sync log"},
	{path: "ei/internal/nested", notStd: "net os syscall context log time sync reflect"},
	{path: "ei/internal/scan", own: "ei/internal/nested", notStd: "net os syscall context log time sync reflect"},
	{path: "ei", own: "ei/internal/nested ei/internal/scan", testOwn: "internal/test/otp", notStd: "net os syscall"},
	{path: "ei/elixir", own: "ei ei/internal/nested ei/internal/scan", testOwn: "internal/test/otp", notStd: "net os syscall context log"},
	{path: "transport/internal/sys", others: []string{xsys}, notStd: "net context log sync"},
	{path: "transport/internal/patience", notStd: "net log"},
	{path: "transport/internal/await", own: "transport/internal/sys transport/internal/patience", others: []string{xsys}, notStd: "net log"},
	{path: "transport/internal/bind", own: "transport/internal/sys", others: []string{xsys}, notStd: "context log sync"},
	{path: "internal/queue", notStd: "net os syscall sync time log"},
	{path: "transport", others: []string{xsys},
		own: "internal/queue transport/internal/sys transport/internal/await transport/internal/patience " +
			"transport/internal/bind",
		testOwn: "transport/transporttest transport/virtual internal/test/packets", testOther: []string{xnet}},
	{path: "internal/test/packets", own: "internal/queue internal/test/expect transport"},
	{path: "internal/test/dissect", others: []string{testify}},
	{path: "transport/internal/pace", own: "transport/internal/patience", notStd: "log"},
	{path: "transport/internal/pcap", notStd: "os syscall sync context log"},
	{path: "transport/internal/remains", notStd: "net sync context log"},
	{path: "transport/virtual", own: "transport transport/internal/pace transport/internal/pcap",
		testOwn: "transport/transporttest internal/test/dissect", testOther: []string{xsys}},
	{path: "transport/transporttest", own: "transport transport/internal/remains", others: []string{xsys},
		testOwn: "transport/virtual internal/test/packets"},
	{path: "transport/tsocket", others: []string{xsys},
		own: "transport transport/internal/sys transport/internal/await transport/internal/patience transport/internal/bind"},
	{path: "transport/tsocket/tsockettest", own: "transport transport/internal/remains transport/tsocket"},
	{path: "transport/tsocket/virtual", own: "transport transport/internal/pace transport/internal/pcap transport/tsocket",
		testOwn: "transport/tsocket/tsockettest internal/test/dissect"},
	{path: "transport/handoff/internal/fault", own: "transport", notStd: "net os sync context log"},
	{path: "transport/handoff/internal/system", own: "transport/handoff/internal/fault", others: []string{xsys},
		notStd: "net sync context log"},
	{path: "internal/test/fdtest", own: "transport internal/test/expect internal/test/leak internal/test/need",
		others: []string{xsys, testify}},
	{path: "transport/handoff/internal/sock",
		own:    "transport transport/internal/sys transport/internal/await transport/internal/patience transport/handoff/internal/fault",
		others: []string{xsys}, testOwn: "internal/test/fdtest", notStd: "sync log"},
	{path: "transport/handoff", others: []string{xsys},
		testOwn: "internal/queue transport/transporttest internal/test/fdtest",
		own: "internal/handoffpoint transport transport/internal/patience " +
			"transport/handoff/internal/fault transport/handoff/internal/system transport/handoff/internal/sock"},
	{path: "transport/handoff/internal/inside", own: "transport transport/internal/patience transport/handoff", notStd: "log"},
	{path: "transport/handoff/internal/stream", notStd: "net log",
		own: "transport transport/handoff transport/handoff/internal/fault transport/handoff/internal/inside transport/handoff/internal/system"},
	{path: "transport/handoff/jsoncomm", testOwn: "internal/test/fdtest", testOther: []string{xsys},
		own: "transport transport/handoff " + carriers},
	{path: "transport/handoff/beam", testOwn: "transport internal/test/fdtest", testOther: []string{xsys},
		own: "transport/internal/patience transport/handoff transport/handoff/internal/stream " + carriers},
	{path: "transport/handoff/bind10", others: []string{xsys}, testOwn: "internal/test/fdtest",
		own: "transport transport/internal/patience transport/handoff transport/handoff/internal/stream " + carriers},
	{path: "tlstransport", own: "ei transport", others: []string{xsys, xcrypto},
		testOwn: "internal/queue transport/transporttest transport/virtual internal/test/otp", testOther: []string{xnet}},
	{path: "nodes/dist", own: "ei", notStd: "net os time sync context log", testOwn: "internal/test/otp"},
	{path: "nodes/internal/hush", notStd: "net os"},
	{path: "nodes/internal/alike", own: "ei", notStd: "net os time sync context log"},
	{path: "nodes/internal/behalf", notStd: "net os time sync log"},
	{path: "nodes/internal/cookie", own: "ei", notStd: "net time sync context"},
	{path: "nodes/internal/places", notStd: "net"},
	{path: "nodes/permit", notStd: "net os time sync context log"},
	{path: "nodes/internal/otp", own: "ei", notStd: "net os sync context log"},
	{path: "nodes/internal/clock", others: []string{xsys}},
	{path: "nodes/internal/move", notStd: "net os time context log"},
	{path: "nodes/epmd", own: "transport transport/handoff nodes/internal/hush nodes/internal/move", others: []string{xsys},
		testOwn: "internal/test/otp"},
	{path: "nodes/internal/form", own: "ei transport/handoff", notStd: "net os time sync context log"},
	{path: "nodes/internal/states", own: "ei nodes/dist nodes/internal/form", notStd: "net os sync context log"},
	{path: "nodes/internal/wait", own: "transport", notStd: "net syscall log"},
	{path: "nodes/internal/inbox", own: "nodes/internal/places nodes/internal/wait", notStd: "net os context log"},
	{path: "nodes/internal/atoms", own: "ei transport nodes/dist", notStd: "net os time log"},
	{path: "nodes/internal/lazymap", notStd: "net os time sync context log"},
	{path: "nodes/internal/bonds", own: "ei nodes/dist nodes/internal/lazymap nodes/internal/states", notStd: "net os time sync context log"},
	{path: "nodes/internal/sequences", notStd: "net log",
		own: "ei internal/queue transport nodes/dist nodes/internal/states nodes/internal/wait"},
	{path: "nodes/internal/handshake", own: "nodes/internal/lazymap", notStd: "net os time log"},
	{path: "nodes/dist/packets", own: "internal/queue transport nodes/dist", notStd: "net os time log"},
	{path: "nodes/internal/life", own: "nodes/internal/wait", notStd: "net os time log", testOwn: "transport"},
	{path: "nodes/internal/peers", own: "nodes/dist nodes/internal/lazymap nodes/internal/wait", notStd: "net os time log"},
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
	{path: "nodes/internal/inside", notStd: "net",
		own: "ei transport transport/handoff nodes/dist nodes/internal/lazymap nodes/internal/life nodes/internal/peers nodes/internal/states"},
	{path: "nodes", others: []string{xsys}, testOwn: "transport/transporttest transport/virtual internal/test/otp internal/test/packets " +
		"internal/handoffpoint",
		own: "internal/host internal/queue ei transport transport/handoff nodes/dist " +
			"nodes/dist/packets nodes/epmd " +
			"nodes/introspect nodes/metrics nodes/internal/alike nodes/internal/behalf nodes/internal/bonds nodes/internal/clock " +
			"nodes/internal/cookie " +
			"nodes/internal/descriptor nodes/internal/form nodes/internal/handshake nodes/internal/hush " +
			"nodes/internal/inbox nodes/internal/inside nodes/internal/lazymap nodes/internal/life " +
			"nodes/internal/link nodes/internal/move nodes/internal/otp nodes/internal/peers " +
			"nodes/permit nodes/internal/places nodes/internal/states nodes/internal/wait"},
	{path: "nodes/internal/asker", own: "ei nodes nodes/internal/otp", notStd: "net os time sync context log"},
	{path: "nodes/internal/kept", own: "ei transport nodes nodes/introspect nodes/internal/asker nodes/internal/hush nodes/internal/otp " +
		"nodes/internal/places",
		notStd: "net syscall"},
	{path: "internal/test/cluster", own: "internal/test/expect internal/test/sockdir nodes transport", others: []string{testify}},
	{path: "nodes/pg", own: "ei transport nodes nodes/dist nodes/internal/asker nodes/internal/inside nodes/internal/kept " +
		"nodes/internal/otp", notStd: "net syscall",
		testOwn: "internal/test/cluster"},
	{path: "nodes/global", own: "ei transport nodes nodes/dist nodes/internal/asker nodes/internal/inside nodes/internal/kept " +
		"nodes/internal/otp",
		testOwn: "nodes/nodestest internal/test/accord internal/test/cluster internal/test/otp", testOther: []string{xsys}},
	{path: "nodes/supervisor", own: "ei transport nodes/dist nodes nodes/internal/asker", testOther: []string{xsys}},
	{path: "nodes/discovery", own: "ei transport nodes/dist nodes/epmd nodes nodes/internal/inside", others: []string{xnet},
		testOwn: "internal/test/cluster internal/test/dns"},
	{path: "nodes/groupleader", own: "ei transport nodes nodes/dist nodes/internal/asker nodes/internal/otp", notStd: "net os syscall"},
	{path: "nodes/pubsub", notStd: "net os",
		own: "ei ei/elixir transport nodes nodes/dist nodes/internal/behalf nodes/internal/inside nodes/internal/kept " +
			"nodes/internal/otp nodes/pg",
		testOwn: "internal/test/cluster"},
	{path: "nodes/genstage", notStd: "net syscall", own: "ei transport nodes nodes/dist nodes/internal/asker nodes/internal/otp",
		testOwn: "nodes/nodestest", testOther: []string{xsys}},
	{path: "nodes/health", own: "nodes", testOwn: "ei transport"},
	{path: "nodes/debugz", own: "ei nodes nodes/dist nodes/global nodes/introspect nodes/metrics nodes/pg",
		testOwn: "nodes/nodestest nodes/supervisor internal/test/browser"},
	{path: "nodes/observer", own: "ei nodes nodes/dist nodes/introspect nodes/groupleader nodes/internal/asker nodes/internal/otp",
		notStd: "net", testOwn: "transport"},
	{path: "nodes/nodestest", own: "ei transport nodes nodes/dist", notStd: "os"},
	{path: "nodes/upgrade", others: []string{xsys},
		own:     "internal/handoffpoint transport/handoff nodes/internal/inside nodes/internal/states nodes",
		testOwn: "ei nodes/epmd nodes/health internal/test/director internal/test/otp internal/test/systemd"},
	{path: "nodes/workers", testOther: []string{xsys}, testOwn: "internal/queue internal/test/packets",
		own: "internal/handoffpoint ei transport transport/handoff transport/handoff/bind10 nodes nodes/dist nodes/dist/packets nodes/upgrade " +
			"nodes/internal/bonds nodes/internal/crew nodes/internal/descriptor nodes/internal/form nodes/internal/inside " +
			"nodes/internal/lazymap nodes/internal/life nodes/internal/link nodes/internal/nametable nodes/internal/peers " +
			"nodes/internal/states nodes/internal/talk nodes/internal/wait"},
	{path: "nodes/child", own: "transport nodes nodes/epmd nodes/internal/inside nodes/upgrade"},
	{path: "nodes/console", notStd: "net os syscall",
		own: "ei ei/elixir transport nodes nodes/dist nodes/introspect nodes/groupleader nodes/internal/alike " +
			"nodes/internal/asker nodes/internal/kept nodes/internal/otp"},
	{path: "cmd/cnode-demo/internal/steps"},
	{path: "cmd/internal/cli", others: []string{cobra, pflag}},
	{path: "cmd/internal/config",
		own:    "nodes nodes/dist nodes/epmd nodes/workers tlstransport transport transport/virtual cmd/internal/cli",
		others: []string{xsys, cobra, pflag}},
	{path: "cmd/internal/advice", own: "nodes nodes/dist nodes/epmd tlstransport transport", testOwn: "ei"},
	{path: "cmd/internal/completion", own: "nodes/epmd nodes/upgrade cmd/internal/cli cmd/internal/config", others: []string{cobra, pflag}},
	{path: "cmd/cnode-gen/internal/source", own: "ei ei/elixir", notStd: "net os time sync context log os/exec",
		testOther: []string{testify}},
	{path: "cmd/cnode-gen", own: "ei nodes cmd/cnode-gen/internal/source " +
		"cmd/internal/cli cmd/internal/config cmd/internal/advice cmd/internal/completion",
		others: []string{cobra, pflag}, testOwn: "nodes/nodestest"},
	{path: "cmd/cnode-demo/internal/mapper", own: "nodes/epmd transport cmd/internal/cli cmd/internal/config",
		others: []string{cobra}},
	{path: "cmd/cnode-demo/internal/certs", own: "nodes/dist cmd/internal/cli cmd/internal/config",
		others: []string{cobra}},
	{path: "cmd/cnode-demo/internal/ask", own: "ei ei/elixir nodes nodes/epmd cmd/internal/cli cmd/internal/config",
		others: []string{cobra, pflag}},
	{path: "cmd/cnode-demo/internal/top", own: "ei nodes cmd/internal/cli cmd/internal/config",
		others: []string{cobra, tea}, testOwn: "nodes/epmd nodes/nodestest nodes/observer internal/test/otp"},
	{path: "cmd/cnode-demo/internal/move",
		own:    "nodes/upgrade transport/handoff cmd/cnode-demo/internal/steps cmd/internal/cli cmd/internal/config",
		others: []string{cobra, pflag}},
	{path: "cmd/cnode-demo/internal/stay", own: "nodes nodes/upgrade cmd/internal/cli", others: []string{xsys, cobra}},
	{path: "cmd/cnode-demo/internal/serve", own: libraries +
		" cmd/cnode-demo/internal/steps cmd/internal/cli cmd/internal/config cmd/cnode-demo/internal/mapper " +
		"cmd/cnode-demo/internal/move", others: []string{cobra, pflag}},
	{path: "cmd/cnode-demo/internal/tour", own: libraries +
		" cmd/internal/cli cmd/internal/config cmd/cnode-demo/internal/mapper cmd/cnode-demo/internal/certs " +
		"cmd/cnode-demo/internal/ask", others: []string{cobra, pflag}},
	{path: "cmd/cnode-demo", own: libraries +
		" cmd/cnode-demo/internal/steps cmd/internal/cli cmd/internal/config cmd/cnode-demo/internal/mapper " +
		"cmd/cnode-demo/internal/certs cmd/cnode-demo/internal/ask cmd/cnode-demo/internal/move cmd/cnode-demo/internal/serve " +
		"cmd/cnode-demo/internal/tour cmd/cnode-demo/internal/top cmd/cnode-demo/internal/stay " +
		"cmd/internal/advice cmd/internal/completion",
		others:  []string{xsys, cobra, pflag},
		testOwn: "internal/handoffpoint internal/test/director internal/test/otp internal/test/pty internal/test/systemd"},
	{path: "cmd/erl-call", own: libraries, others: []string{xsys, cobra, pflag}, testOwn: "internal/test/otp internal/test/pty"},
	{path: "contrib/front", own: "transport transport/handoff transport/handoff/bind10", others: []string{xsys},
		testOwn: "internal/handoffpoint"},
	{path: "contrib/front/cmd/cnode-front", own: "nodes/debugz nodes/upgrade transport/handoff contrib/front", others: []string{cobra, pflag},
		testOwn: "transport/handoff/bind10 internal/test/systemd"},
	{path: "contrib/front/examples/policy", own: "transport contrib/front"},
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
		testOwn: "transport/transporttest internal/test/pty internal/test/systemd"},
	{path: "test/interop/move", own: libraries + " internal/test/otp", others: []string{xsys}},
	{path: "test/interop/upgrade", own: libraries + " internal/test/otp", others: []string{xsys}},
	{path: "test/interop/handoff", own: libraries + " transport/tsocket"},
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
	{path: "test/interop/beam",
		testOwn: libraries + " contrib/front internal/test/browser internal/test/expect internal/test/leak internal/test/need " +
			"internal/test/otp internal/test/sockdir"},
	{path: "test/interop/gen", testOwn: "internal/test/otp"},
	{path: "test/interop/project",
		testOwn: libraries + " internal/test/expect internal/test/leak internal/test/need internal/test/otp internal/test/systemd"},
	{path: "test/interop/tutorial",
		testOwn: libraries + " internal/test/expect internal/test/leak internal/test/need internal/test/otp internal/test/port " +
			"internal/test/systemd"},
	{path: "test/interop/pubsub", testOwn: libraries + " internal/test/otp", testOther: []string{xsys}},
	{path: "test/interop/genstage", testOwn: libraries + " internal/test/otp"},
	{path: "test/chaos", own: libraries + " internal/test/otp", others: []string{xsys, ergo},
		testOwn: "transport/transporttest internal/test/pty internal/test/systemd"},
	{path: "test/bench/profile"},
	{path: "test/bench", own: libraries + " internal/test/otp internal/test/line internal/test/port",
		others: []string{xsys, cobra, pflag, ergo}},
	{path: "test/bench/peer", own: libraries + " test/bench/profile"},
	{path: "test/bench/doors", own: libraries},
	{path: "test/bench/mesh", own: libraries},
	{path: "test/bench/upgrade", own: libraries},
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
	{path: "examples/tutorial/01-node/go/pricing", own: libraries},
	{path: "examples/tutorial/02-function/go/pricing", own: libraries},
	{path: "examples/tutorial/03-struct/go/pricing", own: libraries},
	{path: "examples/tutorial/04-genserver/go/pricing", own: libraries},
	{path: "examples/tutorial/05-call-back/go/pricing", own: libraries},
	{path: "examples/tutorial/06-links/go/pricing", own: libraries},
	{path: "examples/tutorial/07-supervisors/go/pricing", own: libraries},
	{path: "examples/tutorial/08-phoenix/go/pricing", own: libraries},
	{path: "examples/tutorial/09-tests/go/pricing", own: libraries, testOwn: "nodes/nodestest"},
	{path: "examples/tutorial/10-release/go/pricing", own: libraries, testOwn: "nodes/nodestest"},
	{path: "docs/site", testOwn: "internal/test/browser nodes transport transport/virtual"},
	{path: "docs/site/pictures"},
	{path: "docs/site/playground/term", own: "ei ei/elixir"},
	{path: "docs/site/playground/capture", own: "ei nodes/dist", testOwn: "nodes transport transport/virtual"},
	{path: "docs/site/playground/pair", own: "docs/site/playground/capture ei nodes transport transport/virtual"},
	{path: "docs/site/playground/wasm/terms", own: "docs/site/playground/term"},
	{path: "docs/site/playground/wasm/nodes", own: "docs/site/playground/capture docs/site/playground/pair"},
	{path: "test"},
}

// libraries are what a command may use: all that a user may, but the suite for
// tests.
const libraries = "ei ei/elixir transport transport/virtual transport/handoff transport/handoff/jsoncomm " +
	"transport/handoff/beam transport/handoff/bind10 tlstransport nodes nodes/dist nodes/epmd " +
	"nodes/groupleader nodes/pg nodes/pubsub nodes/genstage nodes/global nodes/supervisor nodes/discovery nodes/introspect nodes/observer " +
	"nodes/metrics nodes/health nodes/debugz nodes/console nodes/upgrade nodes/workers nodes/child nodes/nodestest"

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
