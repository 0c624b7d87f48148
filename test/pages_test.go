package test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The second parts of these pages are made of what the code says, so that they cannot say anything
// else. The first parts are written by hand.
var writePages = flag.Bool("pages", false, "write what is generated of docs/reference anew")

const generated = "<!-- What follows is generated: go test ./test -run Generated -pages -->\n"

// compare compares the generated part of a page, or writes it.
func compare(t *testing.T, page, want string) {
	page = filepath.Join("../docs/reference", page)
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	head, got, found := strings.Cut(string(text), generated)
	require.True(t, found)
	if *writePages {
		require.NoError(t, os.WriteFile(page, []byte(head+generated+want), 0o644))
		return
	}
	require.Equal(t, want, got, "the page says something else than the code: go test ./test -run Generated -pages")
}

var (
	globalFlags = regexp.MustCompile(`(?s)\nGlobal Flags:\n.*$`)
	helpFlag    = regexp.MustCompile(`(?m)^ +-h, --help +.*\n`)
	noFlags     = regexp.MustCompile(`\nFlags:\n\s*$`)
)

// TestGeneratedCommands compares reference/commands.md with what the programs say of themselves.
func TestGeneratedCommands(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the page is of Linux")
	}
	help := func(name string, args ...string) string {
		out, err := exec.Command(program(t, name), append(args, "--help")...).CombinedOutput()
		require.True(t, err == nil || name == "erl-call", "%s", out)
		return strings.TrimSpace(string(out))
	}
	whole := help("cnode-demo")
	_, list, found := strings.Cut(whole, "Available Commands:\n")
	require.True(t, found)
	list, _, _ = strings.Cut(list, "\n\n")
	_, common, found := strings.Cut(whole, "\nFlags:\n")
	require.True(t, found)
	common, _, _ = strings.Cut(common, "\n\n")
	var page strings.Builder
	block := func(title, text string) {
		fmt.Fprintf(&page, "\n## %s\n\n```text\n%s\n```\n", title, strings.Trim(text, "\n"))
	}
	block("Flags of every command", helpFlag.ReplaceAllString(common+"\n", ""))
	for line := range strings.Lines(list) {
		name := strings.Fields(line)[0]
		if name == "help" || name == "completion" || name == "tour" {
			continue
		}
		text := globalFlags.ReplaceAllString(help("cnode-demo", name), "\n")
		block("cnode-demo "+name, noFlags.ReplaceAllString(helpFlag.ReplaceAllString(text+"\n", ""), "\n"))
	}
	block("cnode-gen", helpFlag.ReplaceAllString(help("cnode-gen")+"\n", ""))
	block("cnode-front", helpFlag.ReplaceAllString(help("cnode-front")+"\n", ""))
	block("erl-call", help("erl-call"))
	compare(t, "commands.md", page.String())
}

// options are the types whose fields reference/configuration.md explains, by package and file.
var options = []struct{ path, file, name string }{
	{"nodes", "config.go", "Config"},
	{"nodes", "mailbox.go", "MailboxOptions"},
	{"nodes", "func.go", "FuncOptions"},
	{"nodes", "spawn.go", "SpawnOptions"},
	{"nodes", "resolve.go", "PortMapper"},
	{"nodes/workers", "front.go", "Config"},
	{"nodes/upgrade", "upgrade.go", "Upgrader"},
	{"nodes/discovery", "keeper.go", "Options"},
	{"nodes/pg", "scope.go", "Options"},
	{"nodes/pubsub", "pubsub.go", "Options"},
	{"nodes/pubsub", "presence.go", "PresenceOptions"},
	{"nodes/global", "global.go", "Options"},
	{"nodes/supervisor", "supervisor.go", "Options"},
	{"nodes/genstage", "producer.go", "ProducerOptions"},
	{"nodes/genstage", "subscription.go", "Options"},
	{"nodes/observer", "observer.go", "Options"},
	{"nodes/console", "console.go", "Options"},
	{"nodes/debugz", "debugz.go", "Options"},
	{"tlstransport", "config.go", "Options"},
	{"contrib/prometheus", "collector.go", "Options"},
	{"contrib/otel", "otel.go", "Options"},
	{"contrib/quic", "config.go", "Config"},
	{"contrib/websocket", "transport.go", "Options"},
	{"contrib/gate", "gate.go", "Options"},
}

// TestGeneratedConfiguration compares reference/configuration.md with the comments of the options.
func TestGeneratedConfiguration(t *testing.T) {
	var page strings.Builder
	for _, o := range options {
		doc, fields := fieldsOf(t, filepath.Join("..", o.path, o.file), o.name)
		fmt.Fprintf(&page, "\n## %s.%s\n\n%s", packageOf(o.path), o.name, paragraphs(doc))
		for _, f := range fields {
			fmt.Fprintf(&page, "\n### %s.%s.%s\n\n`%s`\n\n%s", packageOf(o.path), o.name, f.name, f.kind, paragraphs(f.doc))
		}
	}
	compare(t, "configuration.md", page.String())
}

// packageOf is the name of a package, which for those of contrib is another one than its folder's.
func packageOf(path string) string {
	if filepath.Dir(path) == "contrib" {
		return "cnode" + strings.NewReplacer("prometheus", "prom", "websocket", "ws").Replace(filepath.Base(path))
	}
	return filepath.Base(path)
}

type field struct{ name, kind, doc string }

// fieldsOf gives the comment of a struct type, and its exported fields with theirs.
func fieldsOf(t *testing.T, file, name string) (doc string, fields []field) {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ParseComments)
	require.NoError(t, err)
	for _, d := range parsed.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range g.Specs {
			spec, ok := s.(*ast.TypeSpec)
			if !ok || spec.Name.Name != name {
				continue
			}
			for _, f := range spec.Type.(*ast.StructType).Fields.List {
				said := f.Doc.Text()
				if said == "" {
					said = f.Comment.Text()
				}
				kind := string(text[f.Type.Pos()-1 : f.Type.End()-1])
				if len(f.Names) == 0 && ast.IsExported(kind) { // embedded
					fields = append(fields, field{kind, kind, said})
				}
				for _, n := range f.Names {
					if n.IsExported() {
						require.NotEmpty(t, said, "%s: %s.%s has no comment", file, name, n.Name)
						fields = append(fields, field{n.Name, strings.Join(strings.Fields(kind), " "), said})
					}
				}
			}
			return g.Doc.Text(), fields
		}
	}
	t.Fatalf("%s: no %s", file, name)
	return "", nil
}

var namedPage = regexp.MustCompile(`\bdocs/([\w/-]+\.md)`)

// paragraphs makes Markdown of a comment: code that is set off stays so, and nothing else is taken
// for a mark of Markdown's.
func paragraphs(comment string) string {
	var out strings.Builder
	for _, p := range strings.Split(strings.TrimSpace(comment), "\n\n") {
		switch {
		case p == "":
		case strings.HasPrefix(p, "\t"):
			fmt.Fprintf(&out, "```text\n%s\n```\n\n", strings.ReplaceAll(strings.TrimPrefix(p, "\t"), "\n\t", "\n"))
		default:
			p = strings.NewReplacer("*", `\*`, "_", `\_`, "<", `\<`, "[", "", "]", "").Replace(p)
			fmt.Fprintf(&out, "%s\n\n", namedPage.ReplaceAllString(p, "[$0](../$1)"))
		}
	}
	return strings.TrimSuffix(out.String(), "\n")
}
