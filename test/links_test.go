package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ +(.*?)\s*$`)
	noSlug   = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	linkText = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// pages are all documents in Markdown that people are led to.
func pages(t *testing.T) []string {
	found := documents(t)
	for _, pattern := range []string{"../examples/*/README.md", "../contrib/*/README.md", "../contrib/*/*/README.md", "../test/*/README.md"} {
		more, err := filepath.Glob(pattern)
		require.NoError(t, err)
		found = append(found, more...)
	}
	return found
}

// Each link within the repository leads to a file, and to a heading of it if it names one.
func TestLinks(t *testing.T) {
	count := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			count++
			if wrong := followed(page, m[1]); wrong != "" {
				t.Errorf("%s: %s: %s", page, m[1], wrong)
			}
		}
	}
	require.NotZero(t, count)
}

// followed says what is wrong with a link of a page.
func followed(page, to string) (wrong string) {
	file, anchor, _ := strings.Cut(to, "#")
	target := page
	if file != "" {
		target = filepath.Join(filepath.Dir(page), file)
	}
	if _, err := os.Stat(target); err != nil {
		return "no such file"
	}
	if anchor == "" || filepath.Ext(target) != ".md" {
		return ""
	}
	text, err := os.ReadFile(target)
	if err != nil {
		return err.Error()
	}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(string(text), ""), -1) {
		if slug(m[1]) == anchor {
			return ""
		}
	}
	return "no such heading"
}

// slug is the anchor that GitHub gives a heading.
func slug(heading string) string {
	heading = linkText.ReplaceAllString(heading, "$1")
	return strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(heading), ""), " ", "-")
}

var (
	inline = regexp.MustCompile("`([^`\n]+)`")
	// what comes before a command in a line: a prompt, variables, a directory, another program
	before = regexp.MustCompile(`^(?:[$#] +|[A-Z_]+=\S* +|cd \S+ && +|sudo +|nohup +|exec +|ExecStart=|docker run .* )*`)
	option = regexp.MustCompile(`^--?[a-z][a-z-]*`)
	folder = regexp.MustCompile(`^\./[\w./-]+$`)
)

// commands lists the lines of a document that may be commands, in blocks and between back-quotes.
func commands(text string) (lines []string) {
	for _, block := range fence.FindAllString(text, -1) {
		lines = append(lines, strings.Split(block, "\n")...)
	}
	for _, m := range inline.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		lines = append(lines, m[1])
	}
	for i, line := range lines {
		line = strings.TrimSpace(line)
		line, _, _ = strings.Cut(line, " #")
		lines[i] = before.ReplaceAllString(line, "")
	}
	return lines
}

// Each command that a document shows exists: scripts, packages, subcommands of cnode-demo and the
// options of the programs.
func TestCommands(t *testing.T) {
	helps := map[string]string{}
	help := func(name string, args ...string) string {
		key := strings.Join(append([]string{name}, args...), " ")
		if _, known := helps[key]; !known {
			text, _ := exec.Command(program(t, name), append(args, "--help")...).CombinedOutput()
			helps[key] = string(text)
		}
		return helps[key]
	}
	count := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, line := range commands(string(text)) {
			words := strings.Fields(line)
			if len(words) == 0 {
				continue
			}
			count++
			switch {
			case strings.HasPrefix(words[0], "test/") && strings.HasSuffix(words[0], ".sh"):
				info, err := os.Stat("../" + words[0])
				if err != nil || info.Mode()&0o100 == 0 && runtime.GOOS != "windows" {
					t.Errorf("%s: %s: no script", page, line)
				}
			case words[0] == "go":
				for _, word := range words[1:] {
					if folder.MatchString(word) && !strings.Contains(word, "...") && word != "./cmd/shop" && !isThere(page, word) { // the reader's
						t.Errorf("%s: %s: no %s", page, line, word)
					}
				}
			case words[0] == "cnode-demo" && len(words) > 1 && isName(words[1]):
				usage := help("cnode-demo", words[1])
				if !strings.Contains(usage, "cnode-demo "+words[1]) {
					t.Errorf("%s: %s: no command %s", page, line, words[1])
				}
				for _, word := range words[2:] {
					if word == "--" {
						break
					}
					if o := option.FindString(word); strings.HasPrefix(o, "--") && !strings.Contains(usage, o) {
						t.Errorf("%s: %s: no option %s", page, line, o)
					}
				}
			case words[0] == "cnode-gen" || words[0] == "cnode-front":
				for _, word := range words[1:] {
					if o := option.FindString(word); strings.HasPrefix(o, "--") && !strings.Contains(help(words[0]), o) {
						t.Errorf("%s: %s: no option %s", page, line, o)
					}
				}
			default:
				count--
			}
		}
	}
	require.Greater(t, count, 50)
}

func isName(word string) bool { return regexp.MustCompile(`^[a-z]+$`).MatchString(word) }

// isThere tells whether there is a folder or a file below the root, beside the page, or in the Go
// module that the reader of the tutorial makes.
func isThere(page, path string) bool {
	module := filepath.Join("../examples/tutorial", strings.TrimSuffix(filepath.Base(page), ".md"), "go")
	for _, root := range []string{"..", filepath.Dir(page), module} {
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			return true
		}
	}
	return false
}
