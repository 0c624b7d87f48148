//go:build unix

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/browser"
)

// built is the folder of a site: the one that CNODE_TEST_SITE names, or one that is built here, if
// npm's packages have been fetched.
func built(t *testing.T) string {
	if dir := os.Getenv("CNODE_TEST_SITE"); dir != "" {
		return dir
	}
	if _, err := os.Stat("../../build/site/node_modules/.fetched"); err != nil {
		t.Skip("docs/site/build.sh has not been run")
	}
	out, err := exec.Command("./build.sh").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return "../../build/site/out"
}

// pagesOf lists the pages of a built site, as paths of their addresses.
func pagesOf(t *testing.T, dir string) (pages []string) {
	require.NoError(t, filepath.WalkDir(dir, func(file string, _ fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, file)
		if err == nil && filepath.Ext(file) == ".html" && rel != "404.html" {
			pages = append(pages, "/"+filepath.ToSlash(rel))
		}
		return err
	}))
	require.Greater(t, len(pages), 50)
	return pages
}

// dead follows all links from the first page, in the browser: each address is fetched, and each
// anchor must be there. Its value has the faults, and how many pages there were.
const dead = `(async () => {
	const pages = new Map(), wrong = []
	const load = async path => {
		if (!pages.has(path)) {
			const answer = await fetch(path)
			const html = answer.ok && (answer.headers.get("content-type") ?? "").includes("html")
			pages.set(path, {ok: answer.ok, doc: html && new DOMParser().parseFromString(await answer.text(), "text/html")})
		}
		return pages.get(path)
	}
	const todo = ["/index.html"], seen = new Set(todo)
	while (todo.length) {
		const path = todo.pop(), page = await load(path)
		for (const e of page.doc.querySelectorAll("a[href], img[src]")) {
			const to = new URL(e.getAttribute("href") ?? e.getAttribute("src"), location.origin + path)
			if (to.origin !== location.origin) continue
			const target = await load(to.pathname)
			const anchor = decodeURIComponent(to.hash.slice(1))
			if (!target.ok || anchor && target.doc && !target.doc.getElementById(anchor)) wrong.push(path + " -> " + to.pathname + to.hash)
			if (target.doc && !seen.has(to.pathname)) {
				seen.add(to.pathname)
				todo.push(to.pathname)
			}
		}
	}
	return [[...seen].map(p => p.endsWith("/") ? p + "index.html" : p), wrong]
})()`

// tooWide names what is wider than the screen and cannot be scrolled by itself.
const tooWide = `[...document.querySelectorAll("body, .VPContent *")].filter(e => {
	if (e.getBoundingClientRect().right <= document.documentElement.clientWidth + 1) return false
	for (let above = e.parentElement; above && above !== document.body; above = above.parentElement)
		if (getComputedStyle(above).overflowX !== "visible" || getComputedStyle(above).position === "fixed") return false
	return getComputedStyle(e).visibility !== "hidden"
}).map(e => e.outerHTML.slice(0, 200))`

// The site that has been built is whole, fits on a telephone, can be searched, and asks no other
// host for anything. Pictures go to the directory that CNODE_TEST_SCREENSHOTS names.
func TestSiteInBrowser(t *testing.T) {
	dir := built(t)
	b := browser.New(t)
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	defer server.CloseClientConnections()
	b.Do("Network.enable", map[string]any{}, nil)
	open := func(path string) {
		b.Open(server.URL + path)
		b.Waits(`document.readyState === "complete" && document.querySelector("#app")?.__vue_app__ && document.querySelector(".vp-doc")`)
	}
	picture := func(name string) {
		if folder := os.Getenv("CNODE_TEST_SCREENSHOTS"); folder != "" {
			require.NoError(t, os.WriteFile(filepath.Join(folder, "site-"+name+".png"), b.Picture(false), 0o600))
		}
	}
	pages := pagesOf(t, dir)

	t.Run("links", func(t *testing.T) {
		open("/")
		found := b.Eval(dead).([]any)
		require.Empty(t, found[1])
		for _, page := range pages {
			require.Contains(t, found[0], page, "no link leads to it")
		}
	})
	t.Run("telephone", func(t *testing.T) {
		b.Screen(400, false)
		for _, page := range pages {
			open(page)
			require.Empty(t, b.Eval(tooWide), page)
			require.LessOrEqual(t, b.Eval("document.documentElement.scrollWidth"), 400.0, page)
		}
	})
	t.Run("light and dark", func(t *testing.T) {
		for _, dark := range []bool{false, true} {
			for _, width := range []int{400, 1400} {
				b.Screen(width, dark)
				for name, path := range map[string]string{"home": "/", "pages": "/docs/", "tabs": "/docs/how-to/process-groups.html",
					"diagram": "/docs/operate/stop-and-drain.html", "package": "/api/nodes.html"} {
					open(path)
					if name == "diagram" {
						b.Waits(`[...document.querySelectorAll(".diagram img")].every(i => i.complete)`)
						seen := b.Eval(`[...document.querySelectorAll(".diagram img")].filter(i => i.naturalWidth && i.offsetWidth).length`)
						require.Equal(t, b.Eval(`document.querySelectorAll(".diagram").length`), seen, "one of each, light or dark")
						require.Equal(t, dark, b.Eval(`document.querySelector(".diagram .dark").offsetWidth > 0`))
						b.Eval(`document.querySelector(".diagram").scrollIntoView({block: "center"})`)
					}
					ground := b.Eval(`getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0)`)
					require.Equal(t, dark, ground.(float64) < 382)
					picture(fmt.Sprintf("%s-%d-%t", name, width, dark))
				}
			}
		}
	})
	t.Run("search", func(t *testing.T) {
		b.Screen(1400, false)
		open("/docs/")
		b.Waits(`document.querySelector(".DocSearch-Button")`)
		b.Eval(`document.querySelector(".DocSearch-Button").click()`)
		b.Waits(`document.querySelector(".search-input")`)
		for asked, found := range map[string]string{ // what is typed, and a page that must be among what is found
			"ErrTooManyUnread": "/api/nodes.html#variables",
			"ErrMailboxFull":   "/docs/how-to/slow-receivers.html", // no error has this name, and somebody will look for it
			"mailbox_full":     "/docs/operate/troubleshooting.html",
		} {
			b.Eval(`{
				const input = document.querySelector(".search-input")
				input.value = "` + asked + `"
				input.dispatchEvent(new Event("input"))
			}`)
			b.Waits(`[...document.querySelectorAll(".VPLocalSearchBox .result")].some(r => r.getAttribute("href").startsWith("` + found + `"))`)
			picture("search-" + asked)
		}
		b.Eval(`document.querySelector(".VPLocalSearchBox .result").click()`)
		b.Waits(`!document.querySelector(".VPLocalSearchBox") && location.pathname !== "/docs/" && document.querySelector(location.hash)`)
	})
	t.Run("tabs", func(t *testing.T) {
		open("/docs/how-to/process-groups.html")
		shown := `[...document.querySelectorAll(".vp-code-group .blocks > div")].filter(e => e.offsetHeight)
			.map(e => e.className.match(/language-(\w+)/)[1])`
		require.Equal(t, []any{"erlang"}, b.Eval(shown))
		b.Eval(`[...document.querySelectorAll(".vp-code-group label")].find(e => e.textContent === "Elixir").click()`)
		b.Waits(`(` + shown + `).join() === "elixir"`)
	})
	t.Run("playground", func(t *testing.T) { testPlayground(t, b, open, picture) })
	for _, url := range b.Requested() {
		if !strings.HasPrefix(url, server.URL+"/") && !strings.HasPrefix(url, "data:") {
			t.Errorf("%s is asked for", url)
		}
	}
	require.NotEmpty(t, b.Requested())
}

// Each page is there as Markdown, and llms.txt has only links to what is there.
func TestSiteAsMarkdown(t *testing.T) {
	dir := built(t)
	for _, page := range pagesOf(t, dir) {
		text, err := os.ReadFile(filepath.Join(dir, strings.TrimSuffix(page, ".html")+".md"))
		require.NoError(t, err)
		require.NotContains(t, string(text), "::: code-group")
		if strings.HasPrefix(page, "/docs/") {
			require.True(t, bytes.HasPrefix(text, []byte("# ")) || bytes.HasPrefix(text, []byte("<!--")), page)
		}
	}
	list, err := os.ReadFile(filepath.Join(dir, "llms.txt"))
	require.NoError(t, err)
	links := regexp.MustCompile(`\]\((\S+)\)`).FindAllStringSubmatch(string(list), -1)
	require.Greater(t, len(links), 50)
	for _, m := range links {
		require.FileExists(t, filepath.Join(dir, m[1]))
	}
}
