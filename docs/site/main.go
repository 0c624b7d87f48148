// Site makes the sources of the project's site from the Markdown of the repository and the comments
// of its packages. What is particular to the site is added here, so that the Markdown needs nothing
// but what GitHub shows: build.sh runs it, and README.md beside it says how.
//
//	go run ./docs/site [--ref REF] FOLDER
//
// It writes three things below the folder: src, the pages as VitePress reads them; public, what is
// published as it is (each page as Markdown, pictures, llms.txt); and navigation.json.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	module = "github.com/cnode-go/cnode"
	about  = "Go nodes in Erlang and Elixir clusters"
)

// A site is what is made of a checkout.
type site struct {
	root, out string
	ref       string // of the files on GitHub
	pages     []*page
	byFile    map[string]*page
	packages  map[string]*page // by folder
	comments  map[string]*page // by the file with the package's comment
	diagrams  map[string]string
}

// A page has its text in Markdown, whose links still lead to files of the repository.
type page struct {
	file    string // below the repository; for a package what would be there: api/nodes.md
	text    string
	summary string // of a package
}

func main() {
	ref := flag.String("ref", "main", "the branch or tag that links to GitHub lead to")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	s := &site{root: ".", out: flag.Arg(0), ref: *ref}
	if err := errors.Join(s.sources(), s.draw()); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
	fmt.Printf("%d pages, %d of packages, %d diagrams\n", len(s.pages), len(s.packages), len(s.diagrams))
}

// sources writes all but the pictures of diagrams.
func (s *site) sources() error {
	for _, folder := range []string{"src", "public"} {
		if err := os.RemoveAll(filepath.Join(s.out, folder)); err != nil {
			return err
		}
	}
	if err := errors.Join(s.findPages(), s.findPackages()); err != nil {
		return err
	}
	s.diagrams = map[string]string{}
	for _, p := range s.pages {
		text, err := s.linked(p)
		if err != nil {
			return err
		}
		to := published(p.file)
		if err := s.write("public/"+to, text); err != nil {
			return err
		}
		text = s.decorated(text)
		if p.file == "README.md" {
			text = start(text)
		}
		if s.isPackage(p) {
			text = "---\neditLink: false\n---\n\n" + text
		}
		if err := s.write("src/"+p.file, text); err != nil {
			return err
		}
	}
	groups, err := s.navigation()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(groups, "", "\t")
	if err != nil {
		return err
	}
	return errors.Join(s.write("navigation.json", string(text)), s.write("public/llms.txt", s.llms(groups)))
}

func (s *site) write(file, text string) error {
	file = filepath.Join(s.out, file)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// findPages reads the documents: all Markdown but what tests read.
func (s *site) findPages() error {
	s.byFile = map[string]*page{}
	return filepath.WalkDir(s.root, func(file string, d fs.DirEntry, err error) error {
		rel, wrong := filepath.Rel(s.root, file)
		if err = errors.Join(err, wrong); err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir() && foreign(rel):
			return fs.SkipDir
		case d.IsDir() || path.Ext(rel) != ".md":
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		s.add(&page{file: rel, text: strings.ReplaceAll(string(text), "\r\n", "\n")}) // as Windows may have it
		return nil
	})
}

// foreign tells folders that are not the project's own: what is built, and what tests read.
func foreign(folder string) bool {
	name := path.Base(folder)
	return folder == "build" || folder == "dist" || name == "testdata" || folder != "." && strings.HasPrefix(name, ".")
}

func (s *site) add(p *page) {
	s.pages = append(s.pages, p)
	s.byFile[p.file] = p
}

func (s *site) isPackage(p *page) bool { return strings.HasPrefix(p.file, "api/") }

// published is where a page is found on the site, as Markdown; with .html it is the page itself.
func published(file string) string {
	if path.Base(file) == "README.md" {
		return path.Join(path.Dir(file), "index.md")
	}
	return file
}

var (
	fenced     = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```[ \t]*$")
	codeOrLink = regexp.MustCompile("(?s)``.*?``|`[^`]*`|(!?)\\[((?:[^][]|`[^`]*`)*)\\]\\(([^)\\s]+)\\)")
	elsewhere  = regexp.MustCompile(`^([a-z]+:|#|/)`)
)

// linked gives the text of a page whose links lead to pages of the site, or to GitHub.
func (s *site) linked(p *page) (string, error) {
	var out strings.Builder
	var failed error
	prose := func(text string) {
		out.WriteString(codeOrLink.ReplaceAllStringFunc(text, func(all string) string {
			m := codeOrLink.FindStringSubmatch(all)
			if m[3] == "" || elsewhere.MatchString(m[3]) {
				return all
			}
			to, err := s.target(p, m[3], m[1] != "")
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", p.file, err))
			}
			return m[1] + "[" + m[2] + "](" + to + ")"
		}))
	}
	at := 0
	for _, block := range fenced.FindAllStringIndex(p.text, -1) {
		prose(p.text[at:block[0]])
		out.WriteString(p.text[block[0]:block[1]])
		at = block[1]
	}
	prose(p.text[at:])
	return out.String(), failed
}

// target is where a link of a page leads to. A file that is shown is published, too.
func (s *site) target(p *page, link string, shown bool) (string, error) {
	file, fragment, _ := strings.Cut(link, "#")
	file = path.Join(path.Dir(p.file), file)
	if fragment != "" {
		fragment = "#" + fragment
	}
	to := s.byFile[file]
	for _, other := range []*page{s.packages[file], s.comments[file], s.byFile[path.Join(file, "README.md")]} {
		if to == nil {
			to = other
		}
	}
	if to != nil {
		rel, err := filepath.Rel(path.Dir(p.file), published(to.file))
		if rel = filepath.ToSlash(rel); !strings.HasPrefix(rel, "../") {
			rel = "./" + rel
		}
		return rel + fragment, err
	}
	info, err := os.Stat(filepath.Join(s.root, file))
	switch {
	case err != nil:
		return "", err
	case shown:
		picture, err := os.ReadFile(filepath.Join(s.root, file))
		return "/" + file, errors.Join(err, s.write("public/"+file, string(picture)))
	case info.IsDir():
		return "https://" + module + "/tree/" + s.ref + "/" + file, nil
	}
	return "https://" + module + "/blob/" + s.ref + "/" + file + fragment, nil
}

var (
	tabs    = regexp.MustCompile("(?ms)^<!-- tabs -->\n((?:\\s*(?:^<!-- [^\n]* -->\n)?^```\\w+\n.*?^```$)+)")
	block   = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")
	mermaid = regexp.MustCompile("(?ms)^```mermaid\n(.*?)^```$")

	playground = regexp.MustCompile(`(?m)^<!-- playground: (\w+) -->$`)
)

var languages = map[string]string{"go": "Go", "elixir": "Elixir", "erlang": "Erlang", "c": "C", "sh": "Shell"}

// decorated adds what only VitePress understands: code in tabs, pictures of diagrams, and the
// playground.
func (s *site) decorated(text string) string {
	text = playground.ReplaceAllString(text, "<playground-$1 />")
	text = tabs.ReplaceAllStringFunc(text, func(group string) string {
		var out strings.Builder
		out.WriteString("::: code-group\n")
		for _, m := range block.FindAllStringSubmatch(group, -1) {
			name := m[1]
			if languages[name] != "" {
				name = languages[name]
			}
			fmt.Fprintf(&out, "\n```%s [%s]\n%s```\n", m[1], name, m[2])
		}
		return out.String() + "\n:::"
	})
	return mermaid.ReplaceAllStringFunc(text, func(found string) string {
		name := s.diagram(mermaid.FindStringSubmatch(found)[1])
		return fmt.Sprintf(`<figure class="diagram"><img class="light" src="/diagrams/%s-light.svg" alt="Diagram">`+
			`<img class="dark" src="/diagrams/%[1]s-dark.svg" alt="Diagram"></figure>`, name)
	})
}

// A door is a link of the first page: a button, or what a card leads to.
type door struct {
	Theme   string `json:"theme,omitempty"`
	Text    string `json:"text,omitempty"`
	Title   string `json:"title,omitempty"`
	Details string `json:"details,omitempty"`
	Link    string `json:"link"`
}

var (
	begins   = regexp.MustCompile(`(?s)^# cnode\n\n(.*?)\n\n`)
	function = regexp.MustCompile(`(?m)^(func \(pricing\) .*) \{ (.*) \}$`)
	typed    = regexp.MustCompile("(?m)^iex> (.*)\n(.*)\n```$")
	toText   = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`)
)

// start makes the first page of the README: its first paragraph, its Go function and the call of
// that become the head, above all else that it says.
func start(text string) string {
	about, does, call := begins.FindStringSubmatch(text), function.FindStringSubmatch(text), typed.FindStringSubmatch(text)
	if about == nil || does == nil || call == nil {
		return text
	}
	head, err := json.MarshalIndent(map[string]any{
		"layout": "home", "title": "cnode", "titleTemplate": "Go in your Elixir or Erlang system",
		"hero": map[string]any{
			"name": "cnode", "text": "Go in your Elixir or Erlang system",
			"tagline": strings.ReplaceAll(toText.ReplaceAllString(about[1], "$1"), "\n", " "),
			"actions": []door{
				{Theme: "brand", Text: "In an Elixir project", Link: "#go-in-your-elixir-project"},
				{Theme: "alt", Text: "A first node in Go", Link: "#a-first-node"},
				{Theme: "alt", Text: "Playground", Link: "/docs/playground"},
			},
		},
		"features": []door{
			{Title: "Types", Details: "mix writes a client with @spec from the Go source, and Go types from Elixir structs.",
				Link: "/docs/how-to/generate-types"},
			{Title: "No name, no toolchain", Details: "A BEAM without a name has a private link. Programs built beforehand need no Go.",
				Link: "/docs/how-to/elixir-project#link-or-node"},
			{Title: "What survives", Details: "A crash of Go, a new version of it, and your clients' connections when the BEAM ends.",
				Link: "#what-survives"},
			{Title: "The whole cluster", Details: "erpc, GenServer, pg, global, PubSub, Presence, GenStage, Observer, remsh.",
				Link: "#what-you-can-use"},
			{Title: "Any carrier", Details: "TCP, TLS, QUIC, WebSockets, or a plug-in of yours, proved by a suite of tests.",
				Link: "/docs/how-to/write-a-carrier"},
			{Title: "Trust", Details: "Rules limit what a peer may ask of Go, and a gate what it may ask of a BEAM.",
				Link: "/docs/explanation/trust"},
		},
		"start": map[string]string{"function": does[1] + " {\n\t" + does[2] + "\n}", "call": call[1], "answer": call[2]},
	}, "", "\t")
	if err != nil { // there is nothing in it that JSON does not have
		return text
	}
	return "---\n" + strings.ReplaceAll(string(head), "\t", " ") + "\n---\n\n" + strings.TrimPrefix(text, about[0])
}

// A group is a part of the navigation, as VitePress takes it.
type group struct {
	Text      string `json:"text"`
	Collapsed bool   `json:"collapsed,omitempty"`
	Items     []item `json:"items"`
}

type item struct {
	Text string `json:"text"`
	Link string `json:"link"`
}

var (
	chapter  = regexp.MustCompile(`(?m)^## (.*)$`)
	listed   = regexp.MustCompile(`(?m)^(?:- .*|  \S.*)$`)
	anyLink  = regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	title    = regexp.MustCompile(`(?m)^# +(.*)$`)
	markings = strings.NewReplacer("`", "", "*", "")
)

func (p *page) title() string {
	if m := title.FindStringSubmatch(fenced.ReplaceAllString(p.text, "")); m != nil {
		return markings.Replace(m[1])
	}
	return p.file
}

func (p *page) item() item {
	return item{p.title(), "/" + strings.TrimSuffix(strings.TrimSuffix(published(p.file), ".md"), "index")}
}

// navigation has a group for each chapter of docs/README.md that lists pages, in its order, then
// the packages, and at last the pages that stand at the repository's top.
func (s *site) navigation() ([]group, error) {
	const overview = "docs/README.md"
	if s.byFile[overview] == nil || s.byFile["README.md"] == nil {
		return nil, errors.New("no README.md")
	}
	there := map[string]bool{"README.md": true, overview: true}
	groups := []group{{Text: "Start", Items: []item{s.byFile["README.md"].item(), s.byFile[overview].item()}}}
	text := s.byFile[overview].text
	heads := chapter.FindAllStringSubmatchIndex(text, -1)
	for i, h := range heads {
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		g := group{Text: text[h[2]:h[3]]}
		list := strings.Join(listed.FindAllString(fenced.ReplaceAllString(text[h[1]:end], ""), -1), "\n")
		for _, m := range anyLink.FindAllStringSubmatch(list, -1) {
			p := s.byFile[path.Join(path.Dir(overview), m[1])]
			if p != nil && !there[p.file] {
				there[p.file] = true
				g.Items = append(g.Items, p.item())
			}
		}
		if len(g.Items) > 0 {
			groups = append(groups, g)
		}
	}
	packages, project := group{Text: "Packages", Collapsed: true}, group{Text: "Project", Collapsed: true}
	var lost []string
	for _, p := range s.pages {
		switch {
		case there[p.file]:
		case s.isPackage(p):
			name := strings.TrimSuffix(strings.TrimPrefix(p.file, "api/"), ".md")
			if path.Base(p.file) == "README.md" {
				name = "All packages"
			}
			packages.Items = append(packages.Items, item{name, p.item().Link})
		case path.Dir(p.file) == ".":
			project.Items = append(project.Items, p.item())
		case strings.HasPrefix(p.file, "docs/") && p.file != "docs/site/README.md":
			lost = append(lost, p.file)
		}
	}
	if lost != nil {
		return nil, fmt.Errorf("%s has no link to %s", overview, strings.Join(lost, ", "))
	}
	return append(groups, packages, project), nil
}

// llms lists the pages, as https://llmstxt.org describes it.
func (s *site) llms(groups []group) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# cnode\n\n> %s. Each page is here as Markdown.\n", about)
	for _, g := range groups {
		fmt.Fprintf(&out, "\n## %s\n\n", g.Text)
		for _, i := range g.Items {
			link := i.Link
			if strings.HasSuffix(link, "/") {
				link += "index"
			}
			fmt.Fprintf(&out, "- [%s](.%s.md)\n", i.Text, link)
		}
	}
	return out.String()
}

// sorted gives the keys of a map in their order.
func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
